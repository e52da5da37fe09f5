"""What lies over the lower edge of the conversation: that there is new text below."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from edgechat.i18n.catalog import _
from edgechat.tui import glyphs
from edgechat.tui.widgets.conversation import ConversationView


class Below(Static):
    """Says that there is new text below what is seen; a click goes there."""

    def __init__(self) -> None:
        super().__init__(Content(_("{sign} new text below, Ctrl+End goes there").format(sign=glyphs.DOWN)), id="below")

    class Wanted(Message):
        """The user wants to see it."""

    def on_click(self) -> None:
        """Go there."""
        self.post_message(self.Wanted())


class Stage(Vertical):
    """The conversation, and what lies over its lower edge."""

    def __init__(self, view: ConversationView) -> None:
        super().__init__(id="stage")
        self._view = view

    def compose(self) -> ComposeResult:
        """Both."""
        yield self._view
        yield Below()

    def on_mount(self) -> None:
        """Show the lower one when it is true."""
        self.watch(self._view, "behind", self._tell)

    def _tell(self, behind: bool) -> None:
        self.query_one(Below).display = behind

    @on(Below.Wanted)
    async def _go(self) -> None:
        await self._view.follow()
