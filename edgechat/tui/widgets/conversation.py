"""The conversation on the screen: the turns, newest at the bottom, and edgechat's own words between them.

Only some turns of a long chat are mounted, those around what is read; others take their place when the user scrolls or
goes to them. While the view has the focus, one turn is marked: that is reading mode, whose keys are in `reading_keys`.
The view shows what it is told and never changes the conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from edgechat.i18n import _, ngettext
from edgechat.tui import glyphs
from edgechat.tui.widgets.cards import ErrorCard, Notice
from edgechat.tui.widgets.reading_keys import READING_BINDINGS
from edgechat.tui.widgets.turn import TurnView
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.worker import WorkType

    from edgechat.chat.conversation import Turn
    from edgechat.errors import EdgechatError

PAGE = 12
"""Turns mounted at a time."""

MOST = 3 * PAGE
"""Turns that stay mounted: the cost of every new line grows with the widgets there are."""


class Earlier(Static):
    """Stands for the turns before those that are mounted."""

    class Wanted(Message):
        """The user asked for earlier turns."""

    def count(self, turns: int) -> None:
        """Say how many there are."""
        words = ngettext("{n} earlier message", "{n} earlier messages", turns).format(n=f"{turns:,}")
        self.update(Content(f"{glyphs.UP} {words}"))

    def on_click(self) -> None:
        """Ask for some of them."""
        self.post_message(self.Wanted())


class Later(Static):
    """Stands for the turns after those that are mounted."""

    class Wanted(Message):
        """The user asked for later turns."""

    def count(self, turns: int) -> None:
        """Say how many there are."""
        words = ngettext("{n} later message", "{n} later messages", turns).format(n=f"{turns:,}")
        self.update(Content(f"{glyphs.DOWN} {words}"))

    def on_click(self) -> None:
        """Ask for some of them."""
        self.post_message(self.Wanted())


class ConversationView(VerticalScroll, inherit_bindings=False):
    """All turns of a chat.

    Attributes:
        live: The turn that is being answered.
        behind: Whether there is new text below what is seen.
        marked: The turn that keys are about, while the view has the focus.
    """

    # A click selects text; it must not make of the next letters that are typed keys that delete.
    FOCUS_ON_CLICK = False
    BINDINGS = READING_BINDINGS

    behind: reactive[bool] = reactive(False)

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
        super().__init__(id="conversation")
        self._turns = tuple(turns)
        self._first = self._last = len(self._turns)
        self._notices = tuple(notices)
        self._moving = 0
        self.live: TurnView | None = None
        self.marked: int | None = None

    def compose(self) -> ComposeResult:
        """The empty state at once; the turns come after the first paint."""
        with Vertical(id="turns"):
            for words in self._notices:
                yield Notice(words)
            if not self._turns:
                yield Welcome()

    @property
    def column(self) -> Vertical:
        """What holds the turns. It is never lower than the view, or the anchor would push a short chat down."""
        return self.query_one("#turns", Vertical)

    @property
    def turn(self) -> Turn | None:
        """The marked turn as it is now."""
        return next((turn for turn in self._turns if turn.id == self.marked), None)

    # What is shown

    async def open(self) -> None:
        """Show the end of the chat and follow it."""
        if self._turns:
            await self._show_from(len(self._turns) - PAGE)
            self.call_after_refresh(self._fill)
            self.anchor()

    async def _fill(self) -> None:
        """Leave no tall screen half empty: nobody could scroll up on it."""
        views = self._views()
        if not self._first or not views or self._last - self._first >= MOST:
            return
        if not views[-1].size.height:  # not laid out yet
            self.call_after_refresh(self._fill)
        elif self.max_scroll_y == 0:
            await self._grow(up=True)
            self.call_after_refresh(self._fill)

    @on(Earlier.Wanted)
    def show_earlier(self) -> None:
        """Mount the turns before the first one shown, without moving what is being read."""
        if self._first:
            work: WorkType[None] = self._grow_up
            self.run_worker(work, group="page", exclusive=True)

    @on(Later.Wanted)
    def show_later(self) -> None:
        """Mount the turns after the last one shown, without moving what is being read."""
        if self._last < len(self._turns):
            work: WorkType[None] = self._grow_down
            self.run_worker(work, group="page", exclusive=True)

    async def follow(self) -> None:
        """Go to the end and follow it."""
        if self._last < len(self._turns):
            await self._show_from(len(self._turns) - PAGE)
        self.anchor()
        self.behind = False

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

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Bring other turns when the user reaches the first or the last one that is mounted."""
        super().watch_scroll_y(old_value, new_value)
        if self._moving:  # what moves is what is mounted, and not the user
            return
        if new_value <= 0 < old_value:
            self.show_earlier()
        elif new_value >= self.max_scroll_y and new_value > old_value:
            if self._last < len(self._turns):
                self.show_later()
            else:
                self.behind = False
                if not self.is_anchored:
                    self.anchor()

    # Reading

    async def mark(self, turn_id: int, *, scroll: bool = True) -> None:
        """Mark a turn as the one that keys are about, and bring it into sight."""
        for view in self._views():
            view.set_class(view.turn.id == turn_id, "-marked")
        self.marked = turn_id
        if scroll:
            await self.reveal(turn_id)

    async def reveal(self, turn_id: int) -> None:
        """Bring a turn into sight, mounted if need be."""
        place = next((n for n, turn in enumerate(self._turns) if turn.id == turn_id), None)
        if place is None:
            return
        if place == len(self._turns) - 1:
            await self.follow()
            return
        if not self._first <= place < self._last:
            await self._show_from(max(0, place - 2))
        view = next(view for view in self._views() if view.turn.id == turn_id)
        self.anchor(False)
        self.call_after_refresh(self._scroll_to_turn, view)

    def _scroll_to_turn(self, view: TurnView) -> None:
        if view.is_attached:
            tall = view.outer_size.height > self.size.height
            self.scroll_to_widget(view, animate=False, top=tall, force=True)

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

    # Which turns are mounted

    def _views(self) -> list[TurnView]:
        return list(self.column.query_children(TurnView))

    async def _show_from(self, first: int) -> None:
        """Mount a page of turns from there on, and no others."""
        self._hold_still()
        self._first = max(0, min(first, len(self._turns)))
        self._last = min(self._first + PAGE, len(self._turns))
        with self.app.batch_update():
            others = [child for child in self.column.children if not isinstance(child, Notice)]
            await self.column.remove_children(others)
            await self.column.mount_all([self._view(turn) for turn in self._turns[self._first : self._last]])
            await self._tell_beyond()
        if self._last < len(self._turns):
            self.anchor(False)

    def _view(self, turn: Turn) -> TurnView:
        view = TurnView(turn)
        view.set_class(turn.id == self.marked, "-marked")
        return view

    async def _grow_up(self) -> None:
        await self._grow(up=True)

    async def _grow_down(self) -> None:
        await self._grow(up=False)

    async def _grow(self, *, up: bool) -> None:
        """Mount one page more on one side, and drop what is too much on the other."""
        held = next(iter(self._views() if up else reversed(self._views())), None)
        if held is None:
            return
        place = held.virtual_region.y - self.scroll_y
        following = self.is_anchored and not self._anchor_released
        self._hold_still()
        with self.app.batch_update():
            if up:
                page = self._turns[max(0, self._first - PAGE) : self._first]
                self._first -= len(page)
                await self.column.mount_all([self._view(turn) for turn in page], before=held)
            else:
                page = self._turns[self._last : self._last + PAGE]
                self._last += len(page)
                await self.column.mount_all([self._view(turn) for turn in page], after=held)
            if following and up:
                await self._tell_beyond()  # the end is being followed, and stays
            else:
                await self._drop(up=not up)
        if self._last < len(self._turns):
            self.anchor(False)
        elif following:
            return
        self.call_after_refresh(self._hold, held, place)

    def _hold_still(self) -> None:
        """Take no scrolling for the user's until what is mounted now is laid out."""
        self._moving += 1
        self.call_after_refresh(self._held_still)

    def _held_still(self) -> None:
        self._moving -= 1

    def _hold(self, held: TurnView, place: float) -> None:
        """Scroll so that a turn stays where it was."""
        if held.is_attached:
            self.scroll_to(y=held.virtual_region.y - place, animate=False, force=True)

    async def _drop(self, *, up: bool) -> None:
        """Take away turns far from what is read: the first ones, or the last ones unless one is being answered."""
        spare = self._last - self._first - MOST
        if spare > 0 and (up or self.live is None):
            views = self._views()
            await self.column.remove_children(views[:spare] if up else views[-spare:])
            if up:
                self._first += spare
            else:
                self._last -= spare
        await self._tell_beyond()

    async def _tell_beyond(self) -> None:
        """Say at both ends how many turns are not mounted."""
        await self.column.remove_children(Earlier)
        await self.column.remove_children(Later)
        views = self._views()
        if self._first and views:
            earlier = Earlier()
            earlier.count(self._first)
            await self.column.mount(earlier, before=views[0])
        if self._last < len(self._turns) and views:
            later = Later()
            later.count(len(self._turns) - self._last)
            await self.column.mount(later, after=views[-1])


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
