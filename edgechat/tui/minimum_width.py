"""Windows so narrow that borders and padding leave no column for a text.

Textual wraps a text to what is left, and Rich cannot wrap to nothing: it raises, which ended the program. It happens in
any widget, Textual's own among them, so it is mended where all of them wrap.
"""

from __future__ import annotations

from rich._wrap import divide_line
from textual import content
from textual._widget_navigation import Direction
from textual.widgets import OptionList


def _divide_line(text: str, width: int, fold: bool = True) -> list[int]:
    """Where to break a text; one that has no column is broken as if it had one."""
    return divide_line(text, max(1, width), fold=fold)


_move_page = OptionList._move_page


def _move_page_if_any(options: OptionList, direction: Direction) -> None:
    """Page through a list; one without a line on the screen has no pages, and Textual looks for them."""
    if options.scrollable_content_region:
        _move_page(options, direction)


def allow_any_width() -> None:
    """Let texts be wrapped to any width, and lists have no room at all, from now on."""
    OptionList._move_page = _move_page_if_any  # type: ignore[assignment, method-assign]
    content.divide_line = _divide_line  # type: ignore[attr-defined]
