"""The prompt as the model gets it, over the chat. It shows what it is given, and none of it is read as markup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from edgechat.chat.text import printable
from edgechat.engine.prompt_text import PartLine, part_lines, summary_words
from edgechat.tui.themes import MUTED

if TYPE_CHECKING:
    from edgechat.engine.base import Prompt

ABOUT = "Control tokens are coloured; what was typed or written stands in quotes; the ids follow. Esc closes this."


class PromptScreen(ModalScreen[None]):
    """The parts of one prompt, which scroll."""

    CSS = Path(__file__).with_name("prompt.tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", id="prompt.close", tooltip="Close the prompt"),
    ]

    def __init__(self, prompt: Prompt, title: str) -> None:
        """Make the screen.

        Args:
            prompt: What to show.
            title: Whose prompt it is.
        """
        super().__init__()
        self._prompt = prompt
        self._title = title

    def compose(self) -> ComposeResult:
        """A card with a line for each part."""
        with VerticalScroll(id="prompt"):
            yield Static(Content.assemble((self._title, "bold"), "\n", (summary_words(self._prompt), MUTED)))
            yield Static(Content("\n").join(_content(line) for line in part_lines(self._prompt)), id="prompt-parts")
            yield Static(Content.styled(ABOUT, MUTED))


def _content(line: PartLine) -> Content:
    colour = "bold $text-warning" if line.part.kind == "control" else "$foreground"
    return Content.assemble(
        (f"{line.sign} ", MUTED), (printable(line.text), colour), (f"  {line.ids}" if line.ids else "", MUTED)
    )
