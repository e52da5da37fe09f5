"""Over the chat: the list of all chats, with search in them.

Titles and snippets are what people and models wrote: they are shown as text. The screens answer with what was chosen
and change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

from edgechat.chat.text import printable
from edgechat.errors import EdgechatError
from edgechat.history.search import SearchHit
from edgechat.history.store import ConversationSummary
from edgechat.i18n import _
from edgechat.tui.themes import MUTED

if TYPE_CHECKING:
    from edgechat.keeping import KeptChat

_CSS = """
%(screen)s {
    align: center middle;
    background: $background 60%%;
}
#dialog {
    width: 76;
    max-width: 100%%;
    height: auto;
    max-height: 80%%;
    border: round $border;
    background: $surface;
    padding: 0 1;
}
#dialog OptionList {
    height: auto;
    max-height: 100%%;
    border: none;
    padding: 0;
}
"""


Choice = ConversationSummary | SearchHit
"""What can be chosen: a chat, or a place in one."""


class ChatsScreen(ModalScreen[Choice | None]):
    """The chats, newest first, or, once words are written, where they were said. Answers with the one chosen."""

    CSS = _CSS % {"screen": "ChatsScreen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="chats.close", tooltip="Stay in this chat"),
        Binding("down", "move(1)", "Down", id="chats.down", tooltip="The next chat", priority=True),
        Binding("up", "move(-1)", "Up", id="chats.up", tooltip="The chat before", priority=True),
    ]

    def __init__(self, chats: KeptChat) -> None:
        """Make the list.

        Args:
            chats: Is asked for them.
        """
        super().__init__()
        self._chats = chats
        self._shown: list[Choice] = []

    def compose(self) -> ComposeResult:
        """Where to write words, and the chats."""
        with Vertical(id="dialog"):
            yield Input(placeholder=_("Search in all chats; Enter opens one"))
            yield OptionList()

    @property
    def choices(self) -> OptionList:
        """The chats."""
        return self.query_one(OptionList)

    def on_mount(self) -> None:
        """Show all chats."""
        self._look_for("")

    @on(Input.Changed)
    def _words_changed(self, message: Input.Changed) -> None:
        self._look_for(message.value)

    def _look_for(self, words: str) -> None:
        self.run_worker(self._fill(words), group="find", exclusive=True)

    async def _fill(self, words: str) -> None:
        try:
            found = await self._chats.chats(words)
        except EdgechatError as error:
            self.choices.clear_options()
            self.choices.add_option(Content(printable(str(error))))
            self._shown = []
            return
        self._shown = list(found)
        self.choices.clear_options()
        self.choices.add_options([_line(item) for item in found])
        if self._shown:
            self.choices.highlighted = 0

    def action_move(self, by: int) -> None:
        """Go through the list without leaving the words."""
        if by > 0:
            self.choices.action_cursor_down()
        else:
            self.choices.action_cursor_up()

    @on(Input.Submitted)
    def _choose(self) -> None:
        if self._shown and self.choices.highlighted is not None:
            self.dismiss(self._shown[self.choices.highlighted])

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        if self._shown:
            self.dismiss(self._shown[message.option_index])


def _line(item: Choice) -> Content:
    title = printable(" ".join(item.title.split())) or _("(no title)")
    if not isinstance(item, SearchHit):
        return Content.assemble("* " if item.pinned else "", title, (f"  {item.turns:,}", MUTED))
    snippet = Content.styled(printable(item.snippet), MUTED)
    for begin, end in item.matches:
        snippet = snippet.stylize("bold $text-primary", begin, end)
    return Content("\n").join([Content(title), snippet])
