"""What is done to everything that is drawn, last of all: signs and colours that the terminal does not have.

A filter sees styled text, never a widget, and never makes it longer or shorter.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from edgechat.chat.sanitize import has_controls, shown
from edgechat.tui import glyphs

BRIGHT = 0.4
"""Brightness from which a background is more than a shade, and stands for something chosen."""


class Visible(LineFilter):
    """Makes visible what a terminal would obey, in every line of every widget, while text and styles are still apart.

    So no widget can forget it. A line keeps its width: Textual counts what is obeyed as nothing, and a sign takes a
    cell.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments with signs in the place of what would be obeyed."""
        del background
        if not any(has_controls(text) or (style is not None and style.link) for text, style, _ in segments):
            return segments
        width = sum(cell_len(text) for text, _, _ in segments)
        out = [
            Segment(shown(text), style.update_link(None) if style is not None and style.link else style)
            for text, style, _ in segments
        ]
        return list(Strip(out).adjust_cell_length(width))


class Simplified(LineFilter):
    """Draws the nearest sign that the terminal has."""

    def __init__(self, level: glyphs.Level) -> None:
        """Make the filter.

        Args:
            level: What the terminal can draw.
        """
        super().__init__()
        self._level = level

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in the terminal's signs."""
        del background
        return [Segment(glyphs.simplified(text, self._level), style, control) for text, style, control in segments]


class Colourless(LineFilter):
    """Draws in the terminal's own two colours; a bright background becomes reversed text."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, bold, underlined and reversed as they are, without a colour."""
        del background
        return [Segment(text, style and colourless(style), control) for text, style, control in segments]


@lru_cache(1024)
def colourless(style: Style) -> Style:
    """A style without its colours."""
    ground = style.bgcolor
    chosen = ground is not None and Color.from_rich_color(ground).brightness > BRIGHT
    return Style(
        bold=style.bold,
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        reverse=bool(style.reverse) != chosen,
        link=style.link,
        meta=style.meta,
    )
