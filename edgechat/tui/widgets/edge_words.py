"""A few words on the lower edge of a widget: a hint, or else the length of what is written."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual.widget import Widget

SIDES = 6
"""Cells of the lower edge beside the words on it."""


@dataclass(frozen=True, slots=True)
class _Words:
    long: str = ""
    short: str = ""
    urgent: bool = False


class EdgeWords:
    """Shows a hint while there is one, and the length otherwise."""

    def __init__(self, widget: Widget) -> None:
        """Show nothing yet.

        Args:
            widget: Has a border.
        """
        self._widget = widget
        self._hint = self._length = _Words()

    def hint(self, words: str, *, short: str = "", urgent: bool = False) -> None:
        """Show a hint; it must be edgechat's own words, not a user's or a model's.

        Args:
            words: The words, translated; empty for none.
            short: What is shown where there is no room for them.
            urgent: Whether they say why something was not done.
        """
        self._hint = _Words(words, short or words, urgent)
        self.draw()

    def length(self, words: str, *, short: str = "", urgent: bool = False) -> None:
        """Show how long the message is, while there is no hint.

        Args:
            words: The words, translated; empty for none.
            short: What is shown where there is no room for them.
            urgent: Whether the message is too long.
        """
        self._length = _Words(words, short or words, urgent)
        self.draw()

    def draw(self) -> None:
        """Show what there is room for now."""
        words = self._hint if self._hint.long else self._length
        room = self._widget.outer_size.width - SIDES
        self._widget.border_subtitle = words.long if cell_len(words.long) <= room else words.short
        self._widget.set_class(words.urgent, "-urgent")
