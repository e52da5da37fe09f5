"""The conversation on the screen: the turns, newest at the bottom, and edgechat's own words between them.

Only the last turns of a long chat are mounted; earlier ones come when the user scrolls up to them. It shows what it is
told and never changes the conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from edgechat.tui import glyphs
from edgechat.tui.widgets.cards import ErrorCard, Notice
from edgechat.tui.widgets.turn import TurnView
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgechat.chat.conversation import Turn
    from edgechat.errors import EdgechatError

PAGE = 12
"""Turns mounted at a time."""


class Earlier(Static):
    """Stands for the turns that are not mounted yet."""

    class Wanted(Message):
        """The user asked for earlier turns."""

    def count(self, turns: int) -> None:
        """Say how many there are."""
        self.update(Content(f"{glyphs.UP} {turns:,} earlier {'message' if turns == 1 else 'messages'}"))

    def on_click(self) -> None:
        """Ask for some of them."""
        self.post_message(self.Wanted())


class ConversationView(VerticalScroll):
    """All turns of a chat."""

    def __init__(self, turns: Sequence[Turn] = (), *, notices: Sequence[str] = ()) -> None:
        """Make the view.

        Args:
            turns: The chat so far.
            notices: Words for the user about the session; they go with the first chat.
        """
        super().__init__(id="conversation")
        self._unmounted = tuple(turns)
        self._empty = not turns
        self._notices = tuple(notices)
        self.live: TurnView | None = None

    def compose(self) -> ComposeResult:
        """The empty state at once; the turns come after the first paint."""
        with Vertical(id="turns"):
            for words in self._notices:
                yield Notice(words)
            if self._empty:
                yield Welcome()

    @property
    def column(self) -> Vertical:
        """What holds the turns. It is never lower than the view, or the anchor would push a short chat down."""
        return self.query_one("#turns", Vertical)

    async def open(self) -> None:
        """Show the end of the chat and follow it."""
        if self._unmounted:
            await self._mount_page()
            self.call_after_refresh(self._fill)
            self.anchor()

    def _fill(self) -> None:
        """Leave no tall screen half empty: nobody could scroll up on it."""
        if self._unmounted and self.max_scroll_y == 0:
            self.show_earlier()
            self.set_timer(0.05, self._fill)

    @on(Earlier.Wanted)
    def show_earlier(self) -> None:
        """Mount the turns before the first one shown, without moving what is being read."""
        if self._unmounted:
            self.run_worker(self._mount_page(), group="earlier", exclusive=True)

    async def begin_turn(self, turn: Turn, notices: Sequence[str] = (), *, path: Sequence[Turn] = ()) -> None:
        """Show a message that is being answered, and where its reply will be or goes on.

        Args:
            turn: The turn; it may be shown already, if it is answered again.
            notices: Words for the user about the message.
            path: The branch that is shown from now on; turns that are not in it go.
        """
        await self.query(Welcome).remove()
        await self.clear_passing()
        stays = {other.id for other in path} - {turn.id}
        if path:
            self._unmounted = tuple(other for other in self._unmounted if other.id in stays)
            await self.column.remove_children([view for view in self.query(TurnView) if view.turn.id not in stays])
        self.live = TurnView(turn, live=True, notices=notices)
        await self.column.mount(self.live)
        if turn.reply is not None and turn.reply.text:
            self.live.write(turn.reply.text)
        self.anchor()

    async def end_turn(self) -> None:
        """The reply of the live turn is over."""
        self.live = None

    async def show_error(self, error: EdgechatError) -> None:
        """Tell of a failure that belongs to no turn; it goes away once something works."""
        await self.clear_passing()
        await self.column.mount(ErrorCard(error, passing=True))
        self.anchor()

    async def clear_passing(self) -> None:
        """Take away the errors that are no longer true."""
        await self.query("ErrorCard.-passing").remove()

    async def show(self, turns: Sequence[Turn]) -> None:
        """Show another chat, or another branch of this one, from its end on."""
        self.live = None
        await self.column.remove_children()
        self._unmounted = tuple(turns)
        await self.open()

    async def begin_chat(self) -> Welcome:
        """Show an empty chat."""
        self._unmounted = ()
        self.live = None
        welcome = Welcome()
        with self.app.batch_update():
            await self.column.remove_children()
            await self.column.mount(welcome)
        self.anchor(False)
        self.scroll_home(animate=False)
        return welcome

    def last_reply(self) -> str:
        """The text of the newest reply; empty if there is none."""
        for turn in reversed(list(self.query(TurnView))):
            if turn.reply_text:
                return turn.reply_text
        return ""

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Bring earlier turns when the user reaches the first one."""
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value:
            self.show_earlier()

    async def _mount_page(self) -> None:
        page, self._unmounted = self._unmounted[-PAGE:], self._unmounted[:-PAGE]
        first = next(iter(self.query(TurnView)), None)
        from_end = self.virtual_size.height - self.scroll_y
        with self.app.batch_update():
            await self.query(Earlier).remove()
            views = [TurnView(turn) for turn in page]
            await self.column.mount_all(views, before=first)
            if self._unmounted:
                earlier = Earlier()
                earlier.count(len(self._unmounted))
                await self.column.mount(earlier, before=views[0])
        if first is not None:
            self.call_after_refresh(
                lambda: self.scroll_to(y=self.virtual_size.height - from_end, animate=False, force=True)
            )
