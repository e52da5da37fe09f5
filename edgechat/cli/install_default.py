"""`edgechat _install-default`: the child process that converts the embedded weights to an installed model.

It is started by `models.default` and writes JSON lines to standard output: `{"done", "total", "note"}` for progress,
and finally `{"ready": path}`, or `{"error": {"title", "message", "hint"}}` with a non-zero exit code. Tracebacks of
unexpected errors go to standard error, which is the install log.

However this process ends, the model is installed completely or not at all. It ends with the parent that identified
itself, so that no computation continues after the user has left. Without one, the installation continues silently if
nobody is reading its output, and only a signal stops it.
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
from edgechat.i18n.sentence import Sentence
from edgechat.models.default import DEFAULT_NAME, embedded_gguf, no_model
from edgechat.models.manifest import ensure_intact
from edgechat.models.sanitize import size_text
from edgechat.models.store import ModelStore
from edgechat.runtime import parent_watch

_TOTAL = 100
# Fractions of the total time: converting, then saving, hashing and flushing to disk.
_CONVERTED, _SAVED = 90, 97
# Size of the resulting folder relative to the GGUF file: Q4_1's remainders and the tokenizer's merges take more space.
_GROWTH = 1.25
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(started_by: str = "") -> int:
    """Install the default model and report progress.

    Args:
        started_by: Process id of the parent; this process ends when it does.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    gc.enable()  # disabled in edgechat.__main__
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
        speaker.error(
            ModelError(
                "Model could not be installed", Sentence("{name}: {error}.", name=type(error).__name__, error=error)
            )
        )
        return int(ExitCode.ERROR)
    speaker.send({"ready": str(path)})
    return int(ExitCode.OK)


class _Speaker:
    """Writes JSON lines to the parent process as long as somebody reads them."""

    def __init__(self) -> None:
        # If started without standard output, descriptor 1 may be one of the model's own files by now.
        self._listened_to = sys.stdout is not None
        self._last: tuple[int, str] | None = None

    def send(self, value: dict[str, Any]) -> None:
        if not self._listened_to:
            return
        line = json.dumps(value).encode() + b"\n"
        try:
            # Unbuffered: a failed write must not be repeated when Python closes its files.
            os.write(1, line)
        except OSError:
            self._listened_to = False

    def on_progress(self, done: float, note: str) -> None:
        step = (int(done), note)
        if step != self._last:
            self._last = step
            self.send({"done": step[0], "total": _TOTAL, "note": note})

    def error(self, error: EdgechatError) -> None:
        self.send({"error": {"title": error.title, "message": error.message, "hint": error.hint}})
        if sys.stderr is not None:
            sys.stderr.write(f"{error}\n")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn signals into an exception, so that incomplete work is cleaned up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for name in signals:
            signal.signal(name, signal.SIG_IGN)  # a second signal does not interrupt the cleanup
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
        with _explain_full_disk(store, size), store.staging(DEFAULT_NAME, replace=damaged, size=size) as folder:
            _convert(source, folder, speaker)
            speaker.on_progress(_SAVED, "writing to disk")
        return store.get(DEFAULT_NAME).root


def _convert(source: Path, folder: Path, speaker: _Speaker) -> None:
    """Create the MLflow model folder from a GGUF file."""
    speaker.on_progress(0, "starting")
    # Importing numpy, onnx and mlflow is slow; it happens here, in a process dedicated to it.
    from edgechat.convert.gguf.converter import convert_gguf
    from edgechat.flavor import DATA, save_model
    from edgechat.flavor.package import metadata_of
    from edgechat.models.folder import open_model

    genai = folder / DATA
    report = convert_gguf(source, genai, on_progress=lambda part, note: speaker.on_progress(part * _CONVERTED, note))
    speaker.on_progress(_CONVERTED, "saving")
    metadata = {"name": DEFAULT_NAME, **metadata_of(report, source.name)}
    # The weights are in the right place already, so nothing is copied or moved. A device that has edgechat does not
    # need its code in the model.
    save_model(genai, folder, metadata=metadata, code_paths=[], weights="move")
    open_model(folder)


@contextmanager
def _explain_full_disk(store: ModelStore, size: int) -> Iterator[None]:
    """If the disk fills up, say how much space is needed; name the folder if it cannot be written."""
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
            Sentence(
                "{filename}: {strerror}.", filename=error.filename or store.root, strerror=error.strerror or error
            ),
            "Make the folder writable, or set EDGECHAT_HOME to one that is.",
        ) from error


def _full(store: ModelStore, size: int) -> StorageError:
    return StorageError(
        "Not enough space",
        Sentence(
            "The disk became full. The model needs about {size} in {root}; nothing was installed.",
            size=size_text(size),
            root=store.root,
        ),
        "Free some space, or set EDGECHAT_HOME to another disk, and start again.",
    )
