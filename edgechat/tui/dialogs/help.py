"""Everything that can be done, with its keys, over the chat.

It is read from the bindings and the slash commands themselves, and shows the keys that are in force, so that the help
cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import ClassVar

from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from edgechat.i18n.catalog import N_, _
from edgechat.slash import commands as slash
from edgechat.tui import glyphs
from edgechat.tui.dialogs.base import Card
from edgechat.tui.keys import entries, key_words, keys_of
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.markdown_layout import wrapped

ABOUT = N_(
    "The model runs on this machine and nothing is sent anywhere. Every chat is saved as it is written. "
    "Select text with the mouse and press Ctrl+C to copy it; most terminals select by themselves with Shift held. "
    "Keys are changed in the settings file; `edgechat keys` shows what they are called."
)


class Pairs(Widget):
    """Two columns of text, the second wrapped beside the first. One widget, for a list may have a hundred lines."""

    DEFAULT_CSS = """
    Pairs {
        height: auto;
        width: 100%;
        margin: 0 0 1 0;
    }
    """

    LEFT = 22
    """Cells of the first column, where there is room for them."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Make the list.

        Args:
            pairs: What stands in the two columns; plain text, never markup.
        """
        super().__init__()
        self._pairs = list(pairs)

    def _lines(self, width: int) -> list[Content]:
        longest = max((len(part) for first, _second in self._pairs for part in first.split()), default=0)
        left = min(self.LEFT, max(8, width * 2 // 5, min(longest, width // 2)))  # a command's name is not broken
        out: list[Content] = []
        for first, second in self._pairs:
            keys = [line.content for line in wrapped(Content(first), left)]
            words = [line.content for line in wrapped(Content(second), max(8, width - left - 2))]
            for row in range(max(len(keys), len(words))):
                key = keys[row] if row < len(keys) else Content()
                word = words[row] if row < len(words) else Content()
                key = key.pad_right(left + 2 - key.cell_length).stylize("bold $text-primary")
                out.append(Content.assemble(key, word))
        return out

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as the wrapped lines take."""
        return len(self._lines(width))

    def render(self) -> RenderResult:
        """The lines for this width."""
        return Content("\n").join(self._lines(self.content_size.width))


class HelpScreen(Card[None]):
    """What can be done, and how."""

    DEFAULT_CSS = """
    HelpScreen .help-group {
        text-style: bold underline;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "close", N_("Close"), id="help.close", tooltip=N_("Close the help")),
    ]

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Make the help.

        Args:
            keys: The user's own keys, by id.
        """
        super().__init__(f"{glyphs.MARK} edgechat", N_("Up and Down scroll, Esc closes"))
        self._own = keys

    def body(self) -> Iterable[Widget]:
        """Lists under headings."""
        for group, members in groupby(entries(), key=lambda entry: entry.group):
            yield Static(Content(group), classes="help-group")
            yield Pairs((key_words(keys_of(entry, self._own)), _(entry.about)) for entry in members)
        yield Static(Content(_("Commands")), classes="help-group")
        yield Pairs((command.usage, _(command.help)) for command in slash.COMMANDS)
        yield Static(Content.styled(_(ABOUT), MUTED))
