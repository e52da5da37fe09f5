"""Which turns of a chat are mounted: those around what is read, and no more than a screen can bear.

The cost of every new line grows with the widgets there are. Turns take one another's place when the user scrolls or
goes to them, without moving what is being read; at both ends it is said how many are not there. Nothing here knows what
a turn says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from edgechat.i18n.catalog import ngettext
from edgechat.tui import glyphs
from edgechat.tui.widgets.blank_container import one_for_all
from edgechat.tui.widgets.notices import Notice
from edgechat.tui.widgets.turn_view import TurnView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.geometry import Region
    from textual.strip import Strip
    from textual.worker import WorkType

    from edgechat.chat.conversation import Turn

PAGE = 12
"""Turns mounted at a time."""

MOST = 3 * PAGE
"""Turns that stay mounted: the cost of every new line grows with the widgets there are."""


class Beyond(Static):
    """Stands for the turns that are not mounted on one side."""

    class Wanted(Message):
        """The user asked for some of them.

        Attributes:
            earlier: Whether those before the ones that are mounted.
        """

        def __init__(self, earlier: bool) -> None:
            super().__init__()
            self.earlier = earlier

    def on_click(self) -> None:
        """Ask for some of them."""
        self.post_message(self.Wanted(isinstance(self, Earlier)))


class Earlier(Beyond):
    """The turns before those that are mounted."""

    def __init__(self, turns: int) -> None:
        words = ngettext("{n} earlier message", "{n} earlier messages", turns).format(n=f"{turns:,}")
        super().__init__(Content(f"{glyphs.UP} {words}"))


class Later(Beyond):
    """The turns after those that are mounted."""

    def __init__(self, turns: int) -> None:
        words = ngettext("{n} later message", "{n} later messages", turns).format(n=f"{turns:,}")
        super().__init__(Content(f"{glyphs.DOWN} {words}"))


class MountedTurns(VerticalScroll, inherit_bindings=False):
    """The turns of a chat, some of them mounted.

    Attributes:
        live: The turn that is being answered.
        behind: Whether there is new text below what is seen.
        marked: The turn that is marked, mounted or not.
    """

    behind: reactive[bool] = reactive(False)

    def __init__(self, turns: Sequence[Turn], *, id: str) -> None:  # noqa: A002 - as Textual calls it
        super().__init__(id=id)
        self._turns = tuple(turns)
        self._first = self._last = len(self._turns)
        self._moving = 0
        self.live: TurnView | None = None
        self.marked: int | None = None

    @property
    def column(self) -> Vertical:
        """What holds the turns. It is never lower than the view, or the anchor would push a short chat down."""
        return self.query_one("#turns", Vertical)

    def render_lines(self, crop: Region) -> list[Strip]:
        """One line, for all of them: of the view itself only the background is seen."""
        return one_for_all(super().render_lines, crop)

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

    @on(Beyond.Wanted)
    def _show_beyond(self, message: Beyond.Wanted) -> None:
        if message.earlier:
            self.show_earlier()
        else:
            self.show_later()

    def show_earlier(self) -> None:
        """Mount the turns before the first one shown, without moving what is being read."""
        if self._first:
            work: WorkType[None] = self._grow_up
            self.run_worker(work, group="page", exclusive=True)

    def show_later(self) -> None:
        """Mount the turns after the last one shown, without moving what is being read."""
        if self._last < len(self._turns):
            work: WorkType[None] = self._grow_down
            self.run_worker(work, group="page", exclusive=True)

    def scroll_pages(self, pages: int) -> None:
        """Scroll by a page: up if negative, and at the top bring the turns before."""
        if pages < 0 and self.scroll_y <= 0:
            self.show_earlier()
        elif pages < 0:
            self.scroll_page_up(animate=False)
        else:
            self.scroll_page_down(animate=False)

    def scroll_to_top(self) -> None:
        """Go to the first turn that is mounted; there, bring those before it."""
        if self.scroll_y <= 0:
            self.show_earlier()
        self.scroll_home(animate=False)

    async def follow(self) -> None:
        """Go to the end and follow it."""
        if self._last < len(self._turns):
            await self._show_from(len(self._turns) - PAGE)
        self.anchor()
        self.behind = False

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
        await self.column.remove_children(Beyond)
        views = self._views()
        if self._first and views:
            await self.column.mount(Earlier(self._first), before=views[0])
        if self._last < len(self._turns) and views:
            await self.column.mount(Later(len(self._turns) - self._last), after=views[-1])
