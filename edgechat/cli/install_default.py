"""`edgechat _install-default`: the child process that turns the embedded weights into an installed model.

It is started by `models.default` and speaks JSON lines on standard output: `{"done", "total", "note"}` on the way, at
the end `{"ready": path}`, or `{"error": {"title", "message", "hint"}}` and a non-zero exit code. Tracebacks of what
nobody foresaw go to standard error, which is the install log.

A model is installed as a whole or not at all, whatever ends this process. It ends with the parent that said who it is:
nothing goes on computing behind the back of a user who has left. Where nobody did, the installation goes on in silence
when nobody listens any more, and only a signal stops it.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from edgechat.errors import EdgechatError, ExitCode, ModelError, StorageError
from edgechat.models.default import DEFAULT_NAME, embedded_gguf, no_model
from edgechat.models.manifest import ensure_intact
from edgechat.models.sanitize import size_text
from edgechat.models.store import ModelStore
from edgechat.runtime import parent_watch

_TOTAL = 100
# Where the time goes: converting, then saving, hashing and waiting for the disk.
_CONVERTED, _SAVED = 90, 97
# The folder a GGUF file becomes, against the file: the remainders of Q4_1 and the merges of the tokenizer are larger.
_GROWTH = 1.25
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(started_by: str = "") -> int:
    """Install the default model, telling how it goes.

    Args:
        started_by: The process id of the parent, with which this one ends.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    gc.enable()  # off since edgechat.__main__
    speaker = _Speaker()
    try:
        with _stoppable():
            if started_by:
                parent_watch.end_with(int(started_by), signal.SIGTERM)
            path = _install(ModelStore(), speaker)
    except EdgechatError as error:
        speaker.error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        speaker.error(ModelError("Installation was stopped", "Nothing was installed.", "Starting again tries again."))
        return int(ExitCode.INTERRUPTED)
    except Exception as error:
        traceback.print_exc()
        speaker.error(ModelError("Model could not be installed", f"{type(error).__name__}: {error}."))
        return int(ExitCode.ERROR)
    speaker.say({"ready": str(path)})
    return int(ExitCode.OK)


class _Speaker:
    """Writes JSON lines to whoever started this process, as long as somebody reads them."""

    def __init__(self) -> None:
        # Started without a standard output, descriptor 1 may by now be one of the model's own files.
        self._listened_to = sys.stdout is not None
        self._last: tuple[int, str] | None = None

    def say(self, value: dict[str, Any]) -> None:
        if not self._listened_to:
            return
        line = json.dumps(value).encode() + b"\n"
        try:
            # Unbuffered: what could not be written must not come up again when Python closes its files.
            os.write(1, line)
        except OSError:
            self._listened_to = False

    def on_progress(self, done: float, note: str) -> None:
        step = (int(done), note)
        if step != self._last:
            self._last = step
            self.say({"done": step[0], "total": _TOTAL, "note": note})

    def error(self, error: EdgechatError) -> None:
        self.say({"error": {"title": error.title, "message": error.message, "hint": error.hint}})
        if sys.stderr is not None:
            sys.stderr.write(f"{error}\n")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let signals end the work by an exception, so that what is half done is swept on the way out."""

    def stop(number: int, frame: FrameType | None) -> None:
        for name in signals:
            signal.signal(name, signal.SIG_IGN)  # the sweeping is not interrupted by a second signal
        raise KeyboardInterrupt

    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    before = {name: signal.signal(name, stop) for name in signals}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _install(store: ModelStore, speaker: _Speaker) -> Path:
    with store.lock(DEFAULT_NAME, on_wait=lambda: speaker.on_progress(0, "waiting for another edgechat…")):
        damaged = False
        if store.has(DEFAULT_NAME):
            try:
                root = store.get(DEFAULT_NAME).root
                ensure_intact(root)
                return root
            except ModelError:
                damaged = True
        source = embedded_gguf()
        if source is None:
            raise no_model()
        size = int(source.stat().st_size * _GROWTH)
        with _told_when_full(store, size), store.staging(DEFAULT_NAME, replace=damaged, size=size) as folder:
            _convert(source, folder, speaker)
            speaker.on_progress(_SAVED, "writing to disk")
        return store.get(DEFAULT_NAME).root


def _convert(source: Path, folder: Path, speaker: _Speaker) -> None:
    """Make the MLflow model folder of a GGUF file."""
    speaker.on_progress(0, "starting")
    # numpy, onnx and mlflow are paid for here, once, in a process that does nothing else.
    from edgechat.convert.gguf.converter import convert_gguf
    from edgechat.flavor import DATA, save_model
    from edgechat.flavor.package import metadata_of
    from edgechat.models.folder import open_model

    genai = folder / DATA
    report = convert_gguf(source, genai, on_progress=lambda part, note: speaker.on_progress(part * _CONVERTED, note))
    speaker.on_progress(_CONVERTED, "saving")
    metadata = {"name": DEFAULT_NAME, **metadata_of(report, source.name)}
    # The weights are where they belong already, so that nothing is copied and nothing has to be moved.
    # Nor does a device that has edgechat need its code in the model.
    save_model(genai, folder, metadata=metadata, code_paths=[], weights="move")
    open_model(folder)


@contextmanager
def _told_when_full(store: ModelStore, size: int) -> Iterator[None]:
    """Say how much space is needed when the disk becomes full on the way, and name what cannot be written."""
    try:
        yield
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
            raise _full(store, size) from error
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise _full(store, size) from error
        raise StorageError(
            "Model cannot be installed",
            f"{error.filename or store.root}: {error.strerror or error}.",
            "Make the folder writable, or set EDGECHAT_HOME to one that is.",
        ) from error


def _full(store: ModelStore, size: int) -> StorageError:
    return StorageError(
        "Not enough space",
        f"The disk became full. The model needs about {size_text(size)} in {store.root}; nothing was installed.",
        "Free some space, or set EDGECHAT_HOME to another disk, and start again.",
    )
