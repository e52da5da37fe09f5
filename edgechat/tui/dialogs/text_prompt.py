"""A card that asks for one line, such as another title or a note. It answers with the line and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.widget import Widget
from textual.widgets import Input

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import N_
from edgechat.tui.dialogs.base import Card


class AskCard(Card[str]):
    """Asks for a line. Answers with it, without the spaces around it; None leaves things as they are."""

    def __init__(
        self, title: str, value: str = "", *, keys: str = N_("Enter keeps it · Esc leaves it as it was")
    ) -> None:
        """Make the card.

        Args:
            title: What is asked for, translated.
            value: What it is now.
            keys: See `Card`.
        """
        super().__init__(title, keys)
        self._value = printable(value)

    def body(self) -> Iterable[Widget]:
        """The line, to be edited."""
        yield Input(self._value)

    @on(Input.Submitted)
    def _answer(self, message: Input.Submitted) -> None:
        self.dismiss(message.value.strip())
