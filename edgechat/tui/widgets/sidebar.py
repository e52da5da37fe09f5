"""The list of chats beside the conversation: pinned ones first, the others by day, and search in all of them.

It is made after the first paint and reads as many chats as a list can show; more come when they are asked for. Titles
and snippets are what people and models wrote: they are shown as text. It says what the user chose and changes nothing.
"""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.history.search import SearchHit
from edgechat.history.store import ConversationSummary
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error
from edgechat.tui import glyphs
from edgechat.tui.themes import MUTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.worker import WorkType

    from edgechat.session.session import Session

PAGE = 100
"""Chats read at a time."""

PAUSE = 0.12
"""Seconds without another letter after which a search begins."""

MONTHS = (
    N_("January"),
    N_("February"),
    N_("March"),
    N_("April"),
    N_("May"),
    N_("June"),
    N_("July"),
    N_("August"),
    N_("September"),
    N_("October"),
    N_("November"),
    N_("December"),
)

Choice = ConversationSummary | SearchHit
"""What can be chosen: a chat, or a place in one."""


def group_of(chat: ConversationSummary, today: date) -> str:
    """The heading a chat stands under, translated."""
    if chat.pinned:
        return _("Pinned")
    try:
        day = datetime.fromtimestamp(chat.updated).astimezone().date()
    except (OverflowError, OSError, ValueError):  # a clock that was far off
        return _("Long ago")
    days = (today - day).days
    if days <= 0:
        return _("Today")
    if days == 1:
        return _("Yesterday")
    if days <= 7:
        return _("Last 7 days")
    return _("{month} {year}").format(month=_(MONTHS[day.month - 1]), year=day.year)


def grouped(chats: Sequence[ConversationSummary], today: date) -> Iterator[str | ConversationSummary]:
    """The chats in their order, with a heading before each group; no heading comes twice, whatever the clock said."""
    told: list[str] = []
    for chat in chats:
        heading = group_of(chat, today)
        if heading not in told:
            told.append(heading)
            yield heading
        yield chat


class Rows(OptionList):
    """The chats. Its keys are about the one that is highlighted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "ask('pin')", N_("Pin"), id="list.pin", tooltip=N_("List of chats: pin the chat, or unpin it")),
        Binding(
            "a", "ask('archive')", N_("Archive"), id="list.archive", tooltip=N_("List of chats: archive it, or not")
        ),
        Binding(
            "delete", "ask('delete')", N_("Delete"), id="list.delete", tooltip=N_("List of chats: delete it; F9 undoes")
        ),
    ]

    def action_ask(self, action: str) -> None:
        """Ask for something to be done with the chat."""
        if isinstance(self.parent, ChatList):
            self.parent.ask(action)

    def action_cursor_up(self) -> None:
        """Go up; from the first one, to the words that are searched for."""
        first = next((n for n, option in enumerate(self.options) if not option.disabled), 0)
        if self.highlighted in (None, first) and isinstance(self.parent, ChatList):
            self.parent.search.focus()
        else:
            super().action_cursor_up()


class ChatList(Vertical):
    """Search, and the chats found or all of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", N_("Back"), id="list.leave", tooltip=N_("List of chats: back to the composer")),
        Binding("f2", "ask('rename')", N_("Rename"), id="list.rename", tooltip=N_("List of chats: another title")),
        Binding("down", "into", N_("Down"), id="list.into", tooltip=N_("List of chats: from the search to the chats")),
    ]

    class Opened(Message):
        """A chat was chosen.

        Attributes:
            choice: The chat, or the place in it.
        """

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    class Asked(Message):
        """Something is to be done with a chat.

        Attributes:
            action: "pin", "archive", "delete" or "rename".
            choice: The chat.
        """

        def __init__(self, action: str, choice: Choice) -> None:
            super().__init__()
            self.action = action
            self.choice = choice

    class Left(Message):
        """The user wants to write again."""

    def __init__(self, session: Session) -> None:
        """Make the list; it reads nothing before it is mounted.

        Args:
            session: Has the chats, and the one that is open.
        """
        super().__init__(id="chats")
        self._session = session
        self._limit = PAGE
        self._archived = False
        self._wait = 0.0
        self._shown: list[Choice | str | None] = []
        self._found_for = ""

    def compose(self) -> ComposeResult:
        """Where words are written, and the chats."""
        yield Input(placeholder=_("Search all chats"), id="chats-search")
        yield Rows(id="chats-rows", markup=False)

    @property
    def search(self) -> Input:
        """The words that are searched for."""
        return self.query_one("#chats-search", Input)

    @property
    def rows(self) -> Rows:
        """The chats."""
        return self.query_one("#chats-rows", Rows)

    @property
    def choice(self) -> Choice | None:
        """The one that is highlighted."""
        at = self.rows.highlighted
        chosen = self._shown[at] if at is not None and at < len(self._shown) else None
        return chosen if isinstance(chosen, ConversationSummary | SearchHit) else None

    def on_mount(self) -> None:
        """Read the first page."""
        self.refill()

    def refill(self, *, later: float = 0.0) -> None:
        """Read the chats again, or search for the words again.

        Args:
            later: Seconds to wait; another call in them takes the place of this one.
        """
        self._wait = later
        work: WorkType[None] = self._fill_soon
        self.run_worker(work, group="chats", exclusive=True)

    async def _fill_soon(self) -> None:
        await asyncio.sleep(self._wait)
        await self._fill()

    async def _fill(self) -> None:
        words = self.search.value
        try:
            found = await self._session.library.chats(words, self._limit + 1, archived=self._archived)
        except EdgechatError as error:
            self._put([None], [Option(Content(printable(format_error(error.title, error.message))), disabled=True)])
            return
        hits = [item for item in found if isinstance(item, SearchHit)]
        chats = [item for item in found if isinstance(item, ConversationSummary)]
        if words.strip():
            self._put_hits(hits)
        else:
            self._put_chats(chats)

    def _put_hits(self, hits: list[SearchHit]) -> None:
        if hits:
            self._put(list(hits), [Option(_hit(hit)) for hit in hits])
        else:
            self._put([None], [Option(Content.styled(_("Nothing found"), MUTED), disabled=True)])

    def _put_chats(self, chats: list[ConversationSummary]) -> None:
        shown: list[Choice | str | None] = []
        options: list[Option] = []
        more = len(chats) > self._limit
        current = self._session.chat.id
        for item in grouped(chats[: self._limit], datetime.now().astimezone().date()):
            if isinstance(item, str):
                shown.append(None)
                heading = _("Archived, {when}").format(when=item) if self._archived else item
                options.append(Option(Content.styled(heading, MUTED), disabled=True))
            else:
                shown.append(item)
                options.append(Option(_row(item, current=item.id == current)))
        if more:
            shown.append("more")
            options.append(Option(Content.styled(f"{glyphs.DOWN} {_('more chats')}", MUTED)))
        if not chats and not self._archived:
            shown.append(None)
            options.append(Option(Content.styled(_("No chats yet"), MUTED), disabled=True))
        if not more:
            shown.append("archived")
            words = _("All chats") if self._archived else _("Archived chats")
            options.append(Option(Content.styled(f"{glyphs.RIGHT} {words}", MUTED)))
        self._put(shown, options)

    def _put(self, shown: list[Choice | str | None], options: list[Option]) -> None:
        """Show these in the place of what is shown, and leave the highlight on the same chat if it is among them."""
        before, at = self.choice, self.rows.highlighted or 0
        words = self.search.value.strip()
        other_words = bool(words) and words != self._found_for  # their best hit is the first
        self._found_for = words
        self._shown = shown
        self.rows.clear_options()
        self.rows.add_options(options)
        places = [n for n, item in enumerate(shown) if item is not None]
        wanted: list[int] = []
        if not other_words:
            held = self._session.chat.id, None, None
            wanted += [n for n in places if before is not None and _key(shown[n]) == _key(before)]
            wanted += [n for n in places if before is not None and n >= at]  # it is gone: the one that was below it
            wanted += [n for n in places if _key(shown[n]) == held]
        wanted += places
        self.rows.highlighted = wanted[0] if wanted else None

    # What the user does

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _tell_what_enter_opens(self) -> None:
        """The search has the focus, and Enter opens what is highlighted in the list."""
        self.rows.set_class(self.search.has_focus, "-chosen")

    @on(Input.Changed)
    def _words_changed(self) -> None:
        self._limit, self._archived = PAGE, False
        self.refill(later=PAUSE if self.search.value.strip() else 0)

    @on(Input.Submitted)
    async def _enter(self) -> None:
        await self._fill()  # what is highlighted may be of an earlier word
        self._choose()

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self._choose()

    def _choose(self) -> None:
        at = self.rows.highlighted
        chosen = self._shown[at] if at is not None and at < len(self._shown) else None
        if chosen == "more":
            self._limit += 2 * PAGE
            self.refill()
        elif chosen == "archived":
            self._limit, self._archived = PAGE, not self._archived
            self.refill()
        elif chosen is not None and not isinstance(chosen, str):
            self.post_message(self.Opened(chosen))

    def ask(self, action: str) -> None:
        """Ask for something to be done with the chat that is highlighted."""
        if (choice := self.choice) is not None:
            self.post_message(self.Asked(action, choice))

    def action_ask(self, action: str) -> None:
        """See `ask`."""
        self.ask(action)

    def action_into(self) -> None:
        """Go to the chats."""
        self.rows.focus()

    def action_leave(self) -> None:
        """Leave the words that are searched for, or, without any, the list."""
        if self.search.value:
            self.search.value = ""
        else:
            self.post_message(self.Left())

    def on_key(self, event: events.Key) -> None:
        """A letter that is no key of the list is one to search for."""
        if self.rows.has_focus and event.is_printable and event.character and event.key not in self._own_keys():
            event.stop()
            self.search.focus()
            self.search.insert_text_at_cursor(event.character)

    def _own_keys(self) -> set[str]:
        return set(self.rows._bindings.key_to_bindings)


def _key(item: Choice | str | None) -> tuple[int, int | None, int | None]:
    if isinstance(item, SearchHit):
        return item.conversation, item.turn, item.reply
    return (item.id if isinstance(item, ConversationSummary) else -1), None, None


def _title(words: str) -> str:
    return printable(" ".join(words.split())) or _("(no title)")


def _row(chat: ConversationSummary, *, current: bool) -> Content:
    sign = (f"{glyphs.POINTER} ", "$primary") if current else "  "
    return Content.assemble(sign, (_title(chat.title), "bold" if current else ""))


def _hit(hit: SearchHit) -> Content:
    snippet = Content.styled(printable(hit.snippet), MUTED)
    for begin, end in hit.matches:
        snippet = snippet.stylize("bold $text-primary", begin, end)
    archived = f" ({_('archived')})" if hit.archived else ""
    return Content("\n").join([Content(_title(hit.title) + archived), snippet])
