"""The card: what every screen that lies over the chat looks like.

A title, a body that scrolls, and one muted line of keys; Esc always closes. A card answers with what was chosen and
changes nothing by itself. Its style sheet is in this module, so that it is read with it: a card must open even when
the program's files are gone by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from edgechat.i18n.catalog import N_, _
from edgechat.tui.rtl import reordered_already
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.markdown_layout import wrapped

Answer = TypeVar("Answer")

_CHROME = 6
"""Rows of a card beside its body: the border, the title, the keys, and a blank line at each."""

_SIDES = 6
"""Columns of a card beside its words."""


class Card(ModalScreen[Answer | None]):
    """A screen over the chat. A subclass yields its body, and dismisses with its answer."""

    DEFAULT_CSS = """
    Card {
        align: center middle;
        background: $background 60%;
    }
    Card #card {
        width: 76;
        max-width: 100%;
        height: auto;
        max-height: 100%;
        border: round $border;
        background: $surface;
        padding: 0 1;
    }
    Card.-wide #card {
        width: 100;
    }
    Card #card-title {
        height: auto;
        margin: 0 1 1 1;
        text-style: bold;
    }
    Card #card-body {
        height: auto;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        background: $surface;
    }
    Card #card-keys {
        height: auto;
        margin: 1 1 0 1;
    }
    Card.-low #card-title, Card.-low #card-keys {
        margin: 0 1;
    }
    Card Input, Card Input:focus {
        border: none;
        height: 1;
        padding: 0 1;
        background: $panel;
    }
    Card OptionList, Card OptionList:focus {
        border: none;
        height: auto;
        padding: 0;
        background: $surface;
    }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-roomy")]  # noqa: RUF012 - typed by the base class
    VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-tall")]  # noqa: RUF012 - as above
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", N_("Close"), id="card.close", tooltip=N_("Close the card, and change nothing")),
    ]

    KEY_LINES: ClassVar[int] = 1
    """Rows under the body at the least."""

    def __init__(self, title: str, keys: str = N_("Esc closes"), *, wide: bool = False) -> None:
        """Make a card.

        Args:
            title: A few words, translated; plain text, never markup.
            keys: The line of keys, as a source text; it is translated here.
            wide: Whether the body is better with 100 columns.
        """
        super().__init__(classes="-wide" if wide else None)
        self._card_title = title
        self._keys = keys

    def compose(self) -> ComposeResult:
        """The frame, around `body`."""
        with Vertical(id="card"):
            yield Static(Content(self._card_title), id="card-title")
            with VerticalScroll(id="card-body", can_focus=False):
                yield from self.body()
            yield Static(Content.styled(_(self._keys), MUTED), id="card-keys")

    def body(self) -> Iterable[Widget]:
        """What stands between the title and the keys."""
        raise NotImplementedError

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw over the chat, whose lines are in the order in which they are seen already."""
        with reordered_already():
            return super().render_lines(crop)

    def on_resize(self, event: events.Resize) -> None:
        """Leave the title and the keys in sight: the body scrolls."""
        chrome = _CHROME if event.size.height >= 16 else _CHROME - 2
        width = max(1, min(event.size.width, 100 if self.has_class("-wide") else 76) - _SIDES)
        title = len(wrapped(Content(self._card_title), width))
        keys = max(self.KEY_LINES, len(wrapped(Content(_(self._keys)), width)))
        self.query_one("#card-body").styles.max_height = max(1, event.size.height - chrome + 2 - title - keys)

    def on_key(self, event: events.Key) -> None:
        """Scroll the body by keys that nothing else took."""
        body = self.query_one("#card-body", VerticalScroll)
        scroll = {
            "up": body.scroll_up,
            "down": body.scroll_down,
            "pageup": body.scroll_page_up,
            "pagedown": body.scroll_page_down,
            "home": body.scroll_home,
            "end": body.scroll_end,
        }.get(event.key)
        if scroll is not None:
            event.stop()
            scroll(animate=False)

    def action_close(self) -> None:
        """Close it without an answer."""
        self.dismiss(None)

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close it with an answer.

        Textual closes whatever lies on top. What was closed while it was saving, or lies under another card by then,
        must not close that one, and the chat least of all.

        Args:
            result: The answer.
        """
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()
