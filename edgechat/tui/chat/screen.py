"""The screen people live in, whole: the conversation with the list of chats beside it.

The list is open beside the conversation where there is room, and lies over it where there is not. It is made after the
first paint; what was chosen in it is done here, by the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from edgechat.history.search import SearchHit
from edgechat.i18n.catalog import N_, _
from edgechat.tui.chat.read_only import OpenedScreen
from edgechat.tui.messages import SendEnded, SessionYielded

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.slash.commands import Call
    from edgechat.tui.widgets.sidebar import ChatList, Choice

ROOM = 100
"""Columns from which on the list of chats has a place of its own."""


class MainScreen(OpenedScreen):
    """The chat screen and the list of chats.

    Attributes:
        chats: The list, once it is there.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *OpenedScreen.BINDINGS,
        Binding(
            "ctrl+b",
            "sidebar",
            N_("Sidebar"),
            id="chat.sidebar",
            tooltip=N_("Open or fold the list of chats"),
            priority=True,
        ),
        Binding(
            "ctrl+o", "chats", N_("Chats"), id="chat.open", tooltip=N_("Open another chat, or search in all of them")
        ),
    ]

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen; see `ChatScreen`."""
        super().__init__(session, notices)
        self._settled = False
        self._beside = True
        self._over = False
        self.chats: ChatList | None = None

    @property
    def sidebar(self) -> Vertical:
        """Where the list of chats is."""
        return self.query_one("#sidebar", Vertical)

    def commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """See `BranchingScreen`."""
        yield from super().commands()
        yield _("Open another chat"), _("Choose from all, or search in them (Ctrl+O)"), self.action_chats
        yield (
            _("Open or fold the list of chats"),
            _("Beside the conversation, or over it (Ctrl+B)"),
            self.action_sidebar,
        )
        yield _("Read the chat"), _("Choose a message and what to do with it (Shift+Tab)"), self.action_read

    # Whether it is there

    @property
    def roomy(self) -> bool:
        """Whether there is room beside the conversation."""
        return self.app.size.width >= ROOM

    def on_resize(self, event: events.Resize) -> None:
        """Give the list its place, or take it; the handler of the chat screen runs by itself after this one."""
        if event.size.width >= ROOM:
            self._over = False
        self._place_sidebar(event.size.width >= ROOM)
        if self._settled and self.sidebar.display and self.chats is None:
            self.call_next(self._fill_sidebar)

    def _place_sidebar(self, roomy: bool) -> None:
        shown = self._beside if roomy else self._over
        if not shown and self.sidebar.has_focus_within:
            self.composer.focus()
        self.sidebar.set_class(not roomy, "-over")
        self.sidebar.display = shown

    async def _settle(self) -> None:
        await super()._settle()
        self._settled = True
        if self.sidebar.display:
            await self._fill_sidebar()

    async def _fill_sidebar(self) -> ChatList:
        from edgechat.tui.widgets.sidebar import ChatList  # nothing of it is needed for the first paint

        if self.chats is None:
            self.chats = ChatList(self.session)
            await self.sidebar.mount(self.chats)
        return self.chats

    async def action_sidebar(self) -> None:
        """Fold the list of chats, or open it and go there."""
        if self.sidebar.display:
            self._show_sidebar(False)
            self.composer.focus()
        else:
            self._show_sidebar(True)
            (await self._fill_sidebar()).rows.focus()

    async def action_chats(self) -> None:
        """Open the list of chats at its search."""
        self._show_sidebar(True)
        (await self._fill_sidebar()).search.focus()

    async def search_chats(self, words: str) -> None:
        """Open the list of chats, with those words looked for."""
        await self.action_chats()
        (await self._fill_sidebar()).search.value = words

    def _show_sidebar(self, shown: bool) -> None:
        if self.roomy:
            self._beside = shown
        else:
            self._over = shown
        self._place_sidebar(self.roomy)

    def _close_over(self) -> None:
        """What lies over the conversation goes once it was used."""
        if self._over:
            self._show_sidebar(False)

    # What is done there

    async def obey(self, call: Call) -> None:
        """See `WritingScreen`."""
        from edgechat.tui.slash_commands import ScreenFront  # what commands do is imported with the first of them

        await ScreenFront(self).obey(call)

    def chats_changed(self) -> None:
        """Read the list again, soon."""
        if self.chats is not None:
            self.chats.refill(later=0.05)

    def on_chat_list_left(self) -> None:
        """Write again."""
        self._close_over()
        self.composer.focus()

    async def on_chat_list_opened(self, message: ChatList.Opened) -> None:
        """Go to the chat, or to the place in it."""
        if not self._still():
            return
        choice = message.choice
        self._close_over()
        if not isinstance(choice, SearchHit):
            await self._change(self.session.open(choice.id), "")
            return
        opened = await self._change(self.session.open(choice.conversation, choice.turn, choice.reply), "")
        if opened and choice.turn is not None:
            await self.view.reveal(choice.turn)

    async def on_chat_list_asked(self, message: ChatList.Asked) -> None:
        """Do something with a chat of the list."""
        choice = message.choice
        chat = choice.conversation if isinstance(choice, SearchHit) else choice.id
        match message.action:
            case "pin":
                await self._try(self.session.pin(chat, not choice.pinned))
            case "archive":
                await self._try(self.session.archive(chat, not choice.archived))
                self._tell(_("The chat is out of the archive.") if choice.archived else _("The chat is archived."))
            case "delete":
                await self._delete_listed(chat)
            case "rename":
                self._rename_listed(chat, choice)
        self.chats_changed()

    async def _delete_listed(self, chat: int) -> None:
        if not self._still():
            return
        held = chat == self.session.conversation_id
        if await self._try(self.session.delete_chat(chat)):
            self._tell(_("The chat is deleted. F9 has it back, for 30 days."))
            if held:
                await self.redraw()
                (await self._fill_sidebar()).rows.focus()

    def _rename_listed(self, chat: int, choice: Choice) -> None:
        from edgechat.tui.dialogs.text_prompt import AskCard

        async def rename(wanted: str | None) -> None:
            if wanted:
                await self._try(self.session.rename(wanted, chat))
                self.chats_changed()

        self.app.push_screen(AskCard(_("Title of this chat"), choice.title), rename)

    # When it is no longer true

    async def redraw(self) -> None:
        """See `ChatScreen`; another chat may be the one that is shown."""
        await super().redraw()
        self.chats_changed()

    @on(SessionYielded)
    def _chat_goes_on(self, message: SessionYielded) -> None:
        from edgechat.session.session import TurnSaved

        if isinstance(message.event, TurnSaved):
            self.chats_changed()

    @on(SendEnded)
    def _chat_went_on(self) -> None:
        self.chats_changed()
