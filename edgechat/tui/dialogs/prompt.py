"""The prompt as the model gets it, over the chat. It shows what it is given, and none of it is read as markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edgechat.chat.sanitize import printable
from edgechat.engine.prompt_display import PartLine, format_summary, part_lines
from edgechat.i18n.catalog import N_
from edgechat.tui.dialogs.base import Card
from edgechat.tui.themes import MUTED

if TYPE_CHECKING:
    from edgechat.engine.protocol import Prompt

KEYS = N_("Control tokens are coloured; what was typed or written stands in quotes; the ids follow. Esc closes this.")


class PromptScreen(Card[None]):
    """The parts of one prompt, which scroll."""

    def __init__(self, prompt: Prompt, title: str) -> None:
        """Make the screen.

        Args:
            prompt: What to show.
            title: Whose prompt it is, translated.
        """
        super().__init__(title, KEYS, wide=True)
        self._prompt = prompt

    def body(self) -> Iterable[Widget]:
        """A line for each part."""
        yield Static(Content.styled(format_summary(self._prompt), MUTED))
        yield Static(Content("\n").join(_content(line) for line in part_lines(self._prompt)), id="prompt-parts")


def _content(line: PartLine) -> Content:
    colour = "bold $text-warning" if line.part.kind == "control" else "$foreground"
    return Content.assemble(
        (f"{line.sign} ", MUTED), (printable(line.text), colour), (f"  {line.ids}" if line.ids else "", MUTED)
    )
