"""Takes the fingerprint of a packaged model in a sandboxed worker process, like the one used for chatting.

The caller may be a notebook or a script: no engine library is imported here, no event loop is needed, and whatever the
model does ends with the worker.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TypeVar

from edgechat.engine import resources
from edgechat.engine.fingerprint import Fingerprint, check
from edgechat.engine.protocol import ModelInfo
from edgechat.engine.worker import protocol
from edgechat.errors import EngineError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths

_Answer = TypeVar("_Answer", bound=protocol.Answer)

_SECONDS = 600.0
"""Seconds after which an unresponsive model is given up."""

_CONTEXT = 128
_LOADED = 1.3
"""Memory a model needs, relative to the size of its files."""


def take_fingerprint(folder: Path, known: Fingerprint | None = None) -> Fingerprint:
    """Load an ONNX GenAI folder in a separate process and take its fingerprint.

    Args:
        folder: The model folder.
        known: Its current fingerprint, which is returned if the model still matches it.

    Raises:
        EngineError: The model cannot run here, or there is not enough memory.
        EdgechatError: The worker failed.
    """
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    if size * _LOADED > resources.available_memory():
        raise EngineError("No fingerprint", "There is not enough memory to load the model.")
    with subprocess.Popen(
        paths.own_command("_worker", str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        guard = threading.Timer(_SECONDS, child.kill)
        guard.start()
        try:
            _query(child, protocol.Load(str(folder.resolve()), folder.name, context=_CONTEXT, cache_bytes=0), ModelInfo)
            if known is not None:
                try:
                    check(known, _query(child, protocol.TakeFingerprint(known), Fingerprint))
                except EngineError:  # the model has changed since
                    pass
                else:
                    return known
            return _query(child, protocol.TakeFingerprint(), Fingerprint)
        except OSError as error:
            raise EngineError("The model process ended", f"{error.strerror or error}.") from error
        finally:
            guard.cancel()
            child.kill()


def _query(child: subprocess.Popen[bytes], command: protocol.Command, kind: type[_Answer]) -> _Answer:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(protocol.encode(protocol.CommandLine(1, command)))
    child.stdin.flush()
    for line in child.stdout:
        answer = protocol.decode_answer(line).body
        if isinstance(answer, protocol.Failure):
            raise answer.error()
        if isinstance(answer, kind):
            return answer
    raise EngineError("The model process ended", Sentence("Its exit code was {wait}.", wait=child.wait()))
