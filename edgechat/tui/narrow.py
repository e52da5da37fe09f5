"""Windows so narrow that borders and padding leave no column for a text.

Textual wraps a text to what is left, and Rich cannot wrap to nothing: it raises, which ended the program. It happens in
any widget, Textual's own among them, so it is mended where all of them wrap.
"""

from __future__ import annotations

from rich._wrap import divide_line
from textual import content


def _divide_line(text: str, width: int, fold: bool = True) -> list[int]:
    """Where to break a text; one that has no column is broken as if it had one."""
    return divide_line(text, max(1, width), fold=fold)


def allow_any_width() -> None:
    """Let texts be wrapped to any width from now on."""
    content.divide_line = _divide_line  # type: ignore[attr-defined]
