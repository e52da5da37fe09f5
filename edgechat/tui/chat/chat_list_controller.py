"""The list of chats: where it is, and what is done with the chats that are chosen in it.

It is beside the conversation where there is room, and lies over it where there is not. It is made after the first
paint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechat.history.search import SearchHit
from edgechat.i18n.catalog import _

if TYPE_CHECKING:
    from textual.containers import Vertical

    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.session_changes import SessionChanges
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.conversation import ConversationView
    from edgechat.tui.widgets.sidebar import ChatList, Choice

ROOM = 100
"""Columns from which on the list of chats has a place of its own."""


class ChatListController:
    """Opens and folds the list of chats, and obeys it.

    Attributes:
        chats: The list, once it is there.
    """

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        sidebar: Vertical,
        composer: Composer,
        view: ConversationView,
        changes: SessionChanges,
    ) -> None:
        """Leave the list to be made by `open_after_start`.

        Args:
            session: The chats.
            host: Opens the card for a title, and shows another chat.
            sidebar: Where the list is shown.
            composer: Takes the focus from a list that goes.
            view: Shows the place that was found in a chat.
            changes: Shows what was changed.
        """
        self._session = session
        self._host = host
        self._sidebar = sidebar
        self._composer = composer
        self._view = view
        self._changes = changes
        self._started = False
        self._beside = True
        self._over = False
        self.chats: ChatList | None = None

    # Where it is

    @property
    def _roomy(self) -> bool:
        return self._host.app.size.width >= ROOM

    def resize(self, width: int) -> None:
        """Give the list a place of its own, or take it away, on a screen of that many columns."""
        if width >= ROOM:
            self._over = False
        self._place(roomy=width >= ROOM)
        if self._started and self._sidebar.display and self.chats is None:
            self._host.call_next(self._get_list)

    def _place(self, *, roomy: bool) -> None:
        shown = self._beside if roomy else self._over
        if not shown and self._sidebar.has_focus_within:
            self._composer.focus()
        self._sidebar.set_class(not roomy, "-over")
        self._sidebar.display = shown

    async def open_after_start(self) -> None:
        """Make the list if it is to be seen, now that the first paint is over."""
        self._started = True
        if self._sidebar.display:
            await self._get_list()

    async def _get_list(self) -> ChatList:
        from edgechat.tui.widgets.sidebar import ChatList  # nothing of it is needed for the first paint

        if self.chats is None:
            self.chats = ChatList(self._session)
            await self._sidebar.mount(self.chats)
        return self.chats

    async def toggle(self) -> None:
        """Fold the list, or open it and go there."""
        if self._sidebar.display:
            self._show(False)
            self._composer.focus()
        else:
            self._show(True)
            (await self._get_list()).rows.focus()

    async def search(self, words: str | None = None) -> None:
        """Open the list at its search.

        Args:
            words: What to search for; None leaves what is there.
        """
        self._show(True)
        chats = await self._get_list()
        chats.search.focus()
        if words is not None:
            chats.search.value = words

    def _show(self, shown: bool) -> None:
        if self._roomy:
            self._beside = shown
        else:
            self._over = shown
        self._place(roomy=self._roomy)

    def _fold_if_over(self) -> None:
        """What lies over the conversation goes once it was used."""
        if self._over:
            self._show(False)

    def refresh(self) -> None:
        """Read the chats again, soon."""
        if self.chats is not None:
            self.chats.refill(later=0.05)

    # What is done there

    def leave(self) -> None:
        """Go back to the composer."""
        self._fold_if_over()
        self._composer.focus()

    async def open(self, choice: Choice) -> None:
        """Show a chat, or a place in it."""
        if not self._changes.idle():
            return
        self._fold_if_over()
        if not isinstance(choice, SearchHit):
            await self._changes.apply(self._session.open(choice.id), "")
            return
        opened = await self._changes.apply(self._session.open(choice.conversation, choice.turn, choice.reply), "")
        if opened and choice.turn is not None:
            await self._view.reveal(choice.turn)

    async def run(self, action: str, choice: Choice) -> None:
        """Do something with a chat of the list.

        Args:
            action: "pin", "archive", "delete" or "rename".
            choice: The chat, or a place in it.
        """
        chat = choice.conversation if isinstance(choice, SearchHit) else choice.id
        match action:
            case "pin":
                await self._changes.attempt(self._session.library.pin(chat, not choice.pinned))
            case "archive":
                await self._changes.attempt(self._session.library.archive(chat, not choice.archived))
                words = _("The chat is out of the archive.") if choice.archived else _("The chat is archived.")
                self._changes.notify(words)
            case "delete":
                await self._delete(chat)
            case "rename":
                self._rename(chat, choice)
        self._host.chats_changed()

    async def _delete(self, chat: int) -> None:
        if not self._changes.idle():
            return
        current = chat == self._session.chat.id
        if await self._changes.attempt(self._session.library.delete_chat(chat)):
            self._changes.notify(_("The chat is deleted. F9 has it back, for 30 days."))
            if current:
                await self._host.redraw()
                (await self._get_list()).rows.focus()

    def _rename(self, chat: int, choice: Choice) -> None:
        from edgechat.tui.dialogs.text_prompt import AskCard

        async def rename(wanted: str | None) -> None:
            if wanted:
                await self._changes.attempt(self._session.library.rename(wanted, chat))
                self._host.chats_changed()

        self._host.app.push_screen(AskCard(_("Title of this chat"), choice.title), rename)
