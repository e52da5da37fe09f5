"""Taking the fingerprint of a model that is packaged, in a worker like the one that chats: confined, and apart.

The caller may be a notebook or a script of the user's: nothing of the engine is imported here, no event loop is needed,
and whatever the model does ends with the worker.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TypeVar

from edgechat.engine import resources
from edgechat.engine.fingerprint import Fingerprint, judge
from edgechat.engine.protocol import ModelInfo
from edgechat.engine.worker import protocol
from edgechat.errors import EngineError
from edgechat.runtime import paths

_Answer = TypeVar("_Answer", bound=protocol.Answer)

_SECONDS = 600.0
"""A model that has not said a sentence by then is given up."""

_CONTEXT = 128
_LOADED = 1.3
"""Memory a model takes, against the size of its files."""


def take_fingerprint(folder: Path, known: Fingerprint | None = None) -> Fingerprint:
    """Load an ONNX GenAI folder in a process of its own and take its fingerprint.

    Args:
        folder: The model.
        known: The one it has already; it is kept where the model still says the same.

    Raises:
        EngineError: The model cannot be run here, or there is no memory for it.
        EdgechatError: In the worker's own words.
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
            _ask(child, protocol.Load(str(folder.resolve()), folder.name, context=_CONTEXT, kept_bytes=0), ModelInfo)
            if known is not None:
                try:
                    judge(known, _ask(child, protocol.TakeFingerprint(known), Fingerprint))
                except EngineError:  # the model was changed since
                    pass
                else:
                    return known
            return _ask(child, protocol.TakeFingerprint(), Fingerprint)
        except OSError as error:
            raise EngineError("The model process ended", f"{error.strerror or error}.") from error
        finally:
            guard.cancel()
            child.kill()


def _ask(child: subprocess.Popen[bytes], command: protocol.Command, kind: type[_Answer]) -> _Answer:
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
    raise EngineError("The model process ended", f"Its exit code was {child.wait()}.")
