"""Whether the chat that comes into view may go on, and with which model.

A chat that was written with a model that is not here is opened for reading: what is written stays in the composer, and
one key goes on with the model that is loaded. Nothing here changes the chat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.tui.model_summary import find, installed
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from textual.containers import Vertical

    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.reply_controller import ReplyController
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.conversation import ConversationView


class ForReading(Static):
    """Says why a chat is open for reading only, and what to do."""

    def __init__(self, before: str, now: str) -> None:
        """Make the card.

        Args:
            before: The model the chat was written with.
            now: The one that is loaded.
        """
        why = _("This chat was held with {model}, which is not on this device.").format(model=printable(before))
        then = _("F7 goes on with {model}; what was said stays as it is.").format(model=printable(now))
        lines = [Content.styled(_("Open for reading"), "bold $text-accent"), Content(why), Content.styled(then, MUTED)]
        super().__init__(Content("\n").join(lines), id="for-reading")


class ReadOnlyGuard:
    """Keeps a chat from going on with another model unasked, and introduces the model where there is no chat yet.

    Attributes:
        model: The model of the chat, if the chat is open for reading only; else empty.
    """

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        composer: Composer,
        view: ConversationView,
        footer: Vertical,
        replies: ReplyController,
    ) -> None:
        """Let everything go on until `check` says otherwise.

        Args:
            session: The chat and its model.
            host: Shows notifications.
            composer: Sends nothing while the chat is open for reading.
            view: Shows the welcome of an empty chat.
            footer: Where the card is shown that says so.
            replies: A reply that is being written may go on.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._view = view
        self._footer = footer
        self._replies = replies
        self._released: set[int] = set()
        self._lock = asyncio.Lock()
        self.model = ""

    async def check(self) -> None:
        """Look at the chat and the model that the session holds now."""
        async with self._lock:  # a command changes the chat while the model is being loaded
            if self._session.conversation.turns:
                await self._check_chat()
            else:
                await self._allow()
                await self._introduce_model()

    async def _introduce_model(self) -> None:
        facts = await asyncio.to_thread(find, self._session.models.uri)
        try:
            first = not await self._session.library.chats(limit=1)
        except EdgechatError:
            first = False
        for welcome in self._view.query(Welcome):
            welcome.facts, welcome.first = facts, first

    async def _check_chat(self) -> None:
        info, before = self._session.info, self._session.conversation.model
        chat = self._session.chat.id
        await self._allow()
        if info is None or not before or before == info.name or chat in self._released or self._replies.sending:
            return
        if not await asyncio.to_thread(installed, before) and chat == self._session.chat.id:
            self.model = before
            self._composer.accepting = False
            await self._footer.mount(ForReading(before, info.name), before=0)

    async def _allow(self) -> None:
        if self.model:
            self.model = ""
            self._composer.accepting = not self._replies.sending
        await self._footer.query(ForReading).remove()

    async def release(self) -> None:
        """Let the chat go on with the model that is loaded."""
        self._released.add(self._session.chat.id)
        await self._allow()
        self._composer.edge.hint("")
        self._composer.focus()

    def explain_refusal(self) -> None:
        """Say why a message stays in the composer."""
        self._composer.edge.hint(_("open for reading; F7 goes on"), urgent=True)

    def allows_reply(self) -> bool:
        """Whether a new reply may be written in this chat; if not, say what to do."""
        if self.model:
            self._host.notify(printable(_("This chat is open for reading; F7 goes on with it.")), markup=False)
            return False
        return True
