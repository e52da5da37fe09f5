"""What a command answers, over the chat: a title and lines, all of them text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from edgechat.chat.text import printable
from edgechat.i18n import N_, _
from edgechat.tui.themes import MUTED


class AnswerScreen(ModalScreen[None]):
    """A card with lines to read."""

    CSS = """
    AnswerScreen {
        align: center middle;
        background: $background 60%;
    }
    #answer {
        width: 100;
        max-width: 100%;
        height: auto;
        max-height: 90%;
        border: round $border;
        background: $surface;
        padding: 0 1;
    }
    #answer-lines {
        height: auto;
        max-height: 100%;
        margin: 1 0;
    }
    #answer Static {
        height: auto;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", N_("Close"), id="answer.close", tooltip=N_("Close the answer")),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        """Make the card.

        Args:
            title: What it answers.
            lines: The answer.
        """
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Title, lines, and how to leave."""
        with Vertical(id="answer"):
            yield Static(Content.styled(printable(self._title), "bold"))
            with VerticalScroll(id="answer-lines"):
                yield Static(Content(printable("\n".join(self._lines))))
            yield Static(Content.styled(_("Esc closes this."), MUTED))
