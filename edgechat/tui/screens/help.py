"""The keys, over the chat. They are read from the bindings themselves, so that the help cannot be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from edgechat.i18n import N_, _
from edgechat.tui import glyphs

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY_NAMES = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "ctrl": "Ctrl",
    "shift": "Shift",
    "alt": "Alt",
    "enter": "Enter",
    "home": "Home",
    "end": "End",
    "up": "Up",
    "down": "Down",
}

ABOUT = N_(
    "The model runs on this machine and nothing is sent anywhere. Every chat is saved as it is written. "
    "Select text with the mouse and press Ctrl+C to copy it; most terminals select by themselves with Shift held."
)


def key_words(keys: str) -> str:
    """A binding's keys as people write them: "ctrl+j" is "Ctrl+J". Two are enough to know."""
    return ", ".join(
        "+".join(_KEY_NAMES.get(part, part.upper() if len(part) <= 2 else part) for part in key.split("+"))
        for key in keys.split(",")[:2]
    )


class HelpScreen(ModalScreen[None]):
    """What can be done, and with which key."""

    # Read now: the help must open even when whoever cleans the disk has taken the program's files by then.
    CSS = Path(__file__).with_name("help.tcss").read_text(encoding="utf-8")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-roomy")]  # noqa: RUF012 - typed by the base class
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss", "Close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, bindings: Iterable[Binding]) -> None:
        """Make the help.

        Args:
            bindings: What to tell of; those without a tooltip are left out.
        """
        super().__init__()
        self._shown = [binding for binding in bindings if binding.tooltip]

    def compose(self) -> ComposeResult:
        """A card with the keys."""
        with VerticalScroll(id="help"):
            yield Static(Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")))
            for binding in self._shown:
                with Horizontal(classes="help-row"):
                    yield Static(Content(key_words(binding.key)), classes="help-key")
                    yield Static(Content(_(binding.tooltip)), classes="help-words")
            yield Static(Content(_(ABOUT)), classes="help-about")
            yield Static(Content(_("Esc closes this.")), classes="help-about")
