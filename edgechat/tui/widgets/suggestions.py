"""Ways to go on, in a short list above the composer, which keeps the focus and passes the keys.

What is listed is names, paths and edgechat's own words: all of it is text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from edgechat.chat.sanitize import printable
from edgechat.tui.themes import MUTED

ROWS = 8
"""Ways that are shown at a time, at the most; a quarter of the screen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to go on.

    Attributes:
        words: What is shown.
        help: A few words about it.
        act: Goes that way. True asks it to send at once what needs nothing more.
    """

    words: str
    help: str
    act: Callable[[bool], None]


class Suggestions(Static):
    """The list; it is not there while it is empty."""

    choices: reactive[tuple[Choice, ...]] = reactive[tuple[Choice, ...]](())
    marked: reactive[int] = reactive(0)

    def __init__(self) -> None:
        super().__init__(id="suggestions")
        self.display = False

    def offer(self, choices: Sequence[Choice]) -> None:
        """Show these ways, the first of them marked; none closes the list."""
        self.choices = tuple(choices)
        self.marked = 0
        self.display = bool(choices)
        self._draw()

    def move(self, by: int) -> None:
        """Mark another way."""
        if self.choices:
            self.marked = (self.marked + by) % len(self.choices)

    def watch_marked(self) -> None:
        """Show which is marked."""
        self._draw()

    def on_resize(self) -> None:
        """Fit the words into the width."""
        self._draw()

    def _draw(self) -> None:
        if not self.choices:
            return
        rows = min(ROWS, max(2, self.app.size.height // 4))
        first = max(0, min(self.marked - rows // 2, len(self.choices) - rows))
        shown = self.choices[first : first + rows]
        width = max(self.size.width or 80, 20)
        words = min(max(cell_len(choice.words) for choice in shown), width - 4)
        lines = []
        for n, choice in enumerate(shown, first):
            marked = n == self.marked
            name = set_cell_size(printable(choice.words), words)
            about = set_cell_size(printable(choice.help), max(0, width - words - 6)).rstrip()
            lines.append(
                Content.assemble(
                    ("> " if marked else "  ", "$primary"),
                    (name, "bold $text-primary" if marked else ""),
                    ("  ", ""),
                    (about, MUTED),
                )
            )
        if len(self.choices) > len(shown):
            lines.append(Content.styled(f"  {self.marked + 1}/{len(self.choices)}", MUTED))
        self.update(Content("\n").join(lines))
