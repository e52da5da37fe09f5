"""What a command answers, over the chat: a title and lines, all of them text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import N_
from edgechat.tui.dialogs.base import Card


class AnswerScreen(Card[None]):
    """A card with lines to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q", "close", N_("Close"), id="answer.close", tooltip=N_("Close the answer")),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        """Make the card.

        Args:
            title: What it answers.
            lines: The answer.
        """
        super().__init__(printable(title), wide=True)
        self._lines = lines

    def body(self) -> Iterable[Widget]:
        """The lines."""
        yield Static(Content(printable("\n".join(self._lines))))
