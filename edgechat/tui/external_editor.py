"""The user's own editor, for a message: found, started on a file that nobody else can read, and the file removed.

The interface leaves the terminal meanwhile; a reply that is being written goes on and is shown afterwards.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechat.errors import EdgechatError
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from textual.app import App

FALLBACKS = ("notepad",) if os.name == "nt" else ("nano", "vi")


class EditorError(EdgechatError):
    """The message cannot be edited elsewhere."""


def editor_command() -> list[str]:
    """The editor and its arguments: VISUAL, else EDITOR, else one that is there.

    Raises:
        EditorError: There is none.
    """
    for variable in ("VISUAL", "EDITOR"):
        if wanted := os.environ.get(variable, "").strip():
            try:
                words = shlex.split(wanted, posix=os.name != "nt")
            except ValueError:
                words = []
            if words and shutil.which(words[0]):
                return words
            raise EditorError(
                "The editor was not found",
                Sentence("{variable} is {value}, which is not on the PATH.", variable=variable, value=wanted),
                Sentence("Set {variable} to an editor that is installed.", variable=variable),
            )
    for name in FALLBACKS:
        if shutil.which(name):
            return [name]
    raise EditorError(
        "There is no editor",
        Sentence("Neither VISUAL nor EDITOR is set, and {names} are not installed.", names=", ".join(FALLBACKS)),
        "Set EDITOR to the editor you use.",
    )


async def edited(app: App[Any], text: str) -> str:
    """A text after the user has edited it in the editor.

    Raises:
        EditorError: There is no editor, it failed, or the terminal cannot be left.
    """
    from textual.app import SuspendNotSupported

    command = editor_command()
    try:
        # Nothing is drawn meanwhile: it would be drawn into the editor.
        with app.batch_update(), app.suspend(), _interrupts_are_the_editors():
            return await asyncio.to_thread(_edit, command, text)
    except SuspendNotSupported as error:
        raise EditorError(
            "The editor cannot be opened here", "This terminal cannot be handed over.", "Write here instead."
        ) from error


def _edit(command: list[str], text: str) -> str:
    # A folder of its own, so that an editor's backup and swap files go with it. Nobody else can look into it.
    try:
        with tempfile.TemporaryDirectory(prefix="edgechat-") as folder:
            path = Path(folder) / "message.md"
            path.write_text(text, encoding="utf-8")
            code = subprocess.run([*command, str(path)], check=False).returncode
            if code:
                raise EditorError(
                    "The editor failed",
                    Sentence("{name} ended with code {code}.", name=command[0], code=code),
                    "The message is as it was.",
                )
            # An editor ends the last line; the message did not.
            return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EditorError(
            "The editor failed",
            Sentence("{command}: {reason}.", command=command[0], reason=reason),
            "The message is as it was.",
        ) from error


@contextmanager
def _interrupts_are_the_editors() -> Iterator[None]:
    """Ctrl+C in the editor must not end this program. A handler, not SIG_IGN, which the editor would inherit."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
