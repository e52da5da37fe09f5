"""The conversation on the screen: the turns, newest at the bottom, and edgechat's own words between them.

While the view has the focus, one turn is marked: that is reading mode, whose keys are in `reading_keys`. The view shows
what it is told and never changes the conversation; which turns are there to be seen is the business of `mounted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.message import Message

from edgechat.tui.widgets.blank_container import Ground
from edgechat.tui.widgets.notices import ErrorCard, Notice
from edgechat.tui.widgets.turn_list import MOST, PAGE, MountedTurns
from edgechat.tui.widgets.turn_navigation import READING_BINDINGS
from edgechat.tui.widgets.turn_view import TurnView
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgechat.chat.conversation import Turn
    from edgechat.errors import EdgechatError


class ConversationView(MountedTurns, inherit_bindings=False):
    """All turns of a chat. The marked one is what keys are about, while the view has the focus."""

    # A click selects text; it must not make of the next letters that are typed keys that delete.
    FOCUS_ON_CLICK = False
    BINDINGS = READING_BINDINGS

    class Asked(Message):
        """A key was pressed in reading mode that is about a turn, or that ends reading.

        Attributes:
            action: What is to be done.
            turn: The turn that is marked.
        """

        def __init__(self, action: str, turn: Turn) -> None:
            super().__init__()
            self.action = action
            self.turn = turn

    class Left(Message):
        """The user wants to write again."""

    class Entered(Message):
        """Reading began."""

    class Exited(Message):
        """Reading ended."""

    def __init__(self, turns: Sequence[Turn] = (), *, notices: Sequence[str] = ()) -> None:
        """Make the view.

        Args:
            turns: The chat so far.
            notices: Words for the user about the session; they go with the first chat.
        """
        super().__init__(turns, id="conversation")
        self._notices = tuple(notices)

    def compose(self) -> ComposeResult:
        """The empty state at once; the turns come after the first paint."""
        with Ground(id="turns"):
            for words in self._notices:
                yield Notice(words)
            if not self._turns:
                yield Welcome()

    @property
    def turn(self) -> Turn | None:
        """The marked turn as it is now."""
        return next((turn for turn in self._turns if turn.id == self.marked), None)

    # What is shown

    async def begin_turn(self, turn: Turn, notices: Sequence[str] = (), *, path: Sequence[Turn] = ()) -> None:
        """Show a message that is being answered, and where its reply will be or goes on.

        Args:
            turn: The turn; it may be shown already, if it is answered again.
            notices: Words for the user about the message.
            path: The branch that is shown from now on; turns that are not in it go.
        """
        await self.query(Welcome).remove()
        await self.clear_passing()
        before = tuple(other for other in path if other.id != turn.id)
        stays = {other.id for other in before}
        at_tail = self._last == len(self._turns)
        self._turns = before
        if at_tail:
            views = [view for view in self._views() if view.turn.id not in stays]
            await self.column.remove_children(views)
            self._first = min(self._first, len(before))
            await self._tell_beyond()
        else:
            await self._show_from(len(before) - PAGE)
        self._turns = (*before, turn)
        self._last = len(self._turns)
        self.live = TurnView(turn, live=True, notices=notices)
        await self.column.mount(self.live)
        if turn.reply is not None and turn.reply.text:
            self.live.write(turn.reply.text)
        if self.has_focus:
            await self.mark(turn.id, scroll=False)
        self.anchor()

    def write(self, fragment: str) -> None:
        """Add the next characters to the live reply."""
        if self.live is not None:
            self.live.write(fragment)
            if self._anchor_released or not self.is_anchored:
                self.behind = True

    async def end_turn(self) -> None:
        """The reply of the live turn is over."""
        self.live = None
        if self._last - self._first > MOST and self.is_anchored and not self._anchor_released:
            await self._drop(up=True)

    async def tell(self, turns: Sequence[Turn]) -> None:
        """The turns of the branch that is shown are these by now; say so under those that are mounted."""
        self._turns = tuple(turns)
        now = {turn.id: turn for turn in turns}
        for view in self._views():
            turn = now.get(view.turn.id)
            if turn is not None and turn != view.turn and view is not self.live:
                await view.tell_facts(turn)

    async def show_error(self, error: EdgechatError, *, passing: bool = True) -> None:
        """Tell of a failure that belongs to no turn.

        Args:
            error: The failure.
            passing: Whether it goes away once something works.
        """
        await self.clear_passing()
        await self.column.mount(ErrorCard(error, passing=passing))
        self.anchor()

    async def clear_passing(self) -> None:
        """Take away the errors that are no longer true."""
        await self.query("ErrorCard.-passing").remove()

    async def show(self, turns: Sequence[Turn]) -> None:
        """Show another chat, or another branch of this one, from its end on."""
        self.live = None
        self.behind = False
        self._turns = tuple(turns)
        await self.column.remove_children(Notice)
        await self.open()

    async def begin_chat(self) -> Welcome:
        """Show an empty chat."""
        self._turns = ()
        self._first = self._last = 0
        self.live = None
        self.behind = False
        welcome = Welcome()
        with self.app.batch_update():
            await self.column.remove_children()
            await self.column.mount(welcome)
        self.anchor(False)
        self.scroll_home(animate=False)
        return welcome

    def last_reply(self) -> str:
        """The text of the newest reply; empty if there is none."""
        if self.live is not None and self.live.reply_text:
            return self.live.reply_text
        for turn in reversed(self._turns):
            if turn.reply is not None and turn.reply.text:
                return turn.reply.text
        return ""

    # Reading

    async def mark(self, turn_id: int, *, scroll: bool = True) -> None:
        """Mark a turn as the one that keys are about, and bring it into sight."""
        for view in self._views():
            view.set_class(view.turn.id == turn_id, "-marked")
        self.marked = turn_id
        if scroll:
            await self.reveal(turn_id)

    async def read(self, turn_id: int) -> None:
        """Begin to read, or go on, with that turn."""
        await self.mark(turn_id)
        self.focus()

    async def on_focus(self) -> None:
        """Reading begins."""
        if self._turns and self.turn is None:
            await self.mark(self._turns[-1].id, scroll=False)
        self.post_message(self.Entered())

    def on_blur(self) -> None:
        """Reading ends, or a card lies over it; the mark waits, unseen."""
        self.post_message(self.Exited())

    async def action_move(self, by: int) -> None:
        """Mark the turn that many turns away."""
        if self._turns:
            place = next((n for n, turn in enumerate(self._turns) if turn.id == self.marked), len(self._turns) - 1)
            await self.mark(self._turns[min(max(0, place + by), len(self._turns) - 1)].id)

    async def action_mark_first(self) -> None:
        """Mark the first turn of the chat."""
        if self._turns:
            await self.mark(self._turns[0].id)

    async def action_mark_last(self) -> None:
        """Mark the last turn of the chat."""
        if self._turns:
            await self.mark(self._turns[-1].id)

    def action_ask(self, action: str) -> None:
        """Ask for something to be done with the marked turn."""
        if (turn := self.turn) is not None:
            self.post_message(self.Asked(action, turn))

    def action_leave(self) -> None:
        """Ask to write again."""
        self.post_message(self.Left())
