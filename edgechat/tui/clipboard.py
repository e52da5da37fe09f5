"""Copying, told as it is: into the system's clipboard, which is looked at, or by the terminal, which does not answer.

What a terminal or a shell would obey on being pasted is copied as the sign that stands for it on the screen.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import N_, _
from edgechat.runtime import clipboard

if TYPE_CHECKING:
    from textual.app import App
    from textual.worker import WorkType

EXPORT = N_("/export FILE writes the chat to a file.")
"""How else to have what was said."""

_WITHOUT = ("linux", "dumb", "vt100", "vt102", "vt220", "cons25")
"""Terminals that have no clipboard to ask for."""


@runtime_checkable
class ClipboardDriver(Protocol):
    """A driver that can ask its terminal to keep a text in its clipboard."""

    def set_clipboard(self, text: str) -> None:
        """Ask for it."""


def copy(app: App[None], text: str, words: str, otherwise: str) -> None:
    """Copy a text, and say what is known to have come of it.

    Args:
        app: Shows the words.
        text: What to copy.
        words: That it is in the clipboard, translated.
        otherwise: How else to have it, translated: a sentence.
    """
    work: WorkType[None] = partial(_copy, app, text, words, otherwise)
    app.run_worker(work, name="copy", group="copy")


async def copied(app: App[None], text: str) -> bool:
    """Copy a text in every way there is. Returns whether it is known to be in the clipboard."""
    safe = printable(text)
    driver: object = app._driver
    if isinstance(driver, ClipboardDriver):
        driver.set_clipboard(safe)
    return await clipboard.copy(safe)


async def _copy(app: App[None], text: str, words: str, otherwise: str) -> None:
    if await copied(app, text):
        app.notify(words, markup=False)
    elif os.environ.get("TERM", "") in _WITHOUT:
        none = _("Nothing was copied: there is no clipboard here.")
        app.notify(f"{none} {otherwise}", severity="warning", timeout=10, markup=False)
    else:
        sent = _("It was sent to the terminal, which may take it into its clipboard or not. If it cannot be pasted:")
        app.notify(f"{sent} {otherwise}", timeout=10, markup=False)
