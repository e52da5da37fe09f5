"""What is looked at when a chat comes into view: which model there is to answer, and whether the chat may go on.

A chat that was held with a model that is not here is opened for reading: what is written stays in the composer, and one
key goes on with the model that is loaded. Nothing here changes the chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.widgets import Static

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.tui.chat.turn_actions import ReadingScreen
from edgechat.tui.messages import ModelStarted
from edgechat.tui.model_summary import find, installed
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from edgechat.session.session import Session


class ForReading(Static):
    """Says why a chat is open for reading only, and what to do."""

    def __init__(self, before: str, now: str) -> None:
        """Make the card.

        Args:
            before: The model the chat was held with.
            now: The one that is loaded.
        """
        why = _("This chat was held with {model}, which is not on this device.").format(model=printable(before))
        then = _("F7 goes on with {model}; what was said stays as it is.").format(model=printable(now))
        lines = [Content.styled(_("Open for reading"), "bold $text-accent"), Content(why), Content.styled(then, MUTED)]
        super().__init__(Content("\n").join(lines), id="for-reading")


class OpenedScreen(ReadingScreen):
    """The chat screen, and what it tells of the model.

    Attributes:
        read_only: The model of the chat, if it is open for reading only; else empty.
    """

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen; see `ChatScreen`."""
        super().__init__(session, notices)
        self.read_only = ""
        self._goes_on: set[int] = set()
        self._looking = asyncio.Lock()

    async def _settle(self) -> None:
        await super()._settle()
        await self._look()

    async def redraw(self) -> None:
        """See `ChatScreen`; the other chat may be of another model."""
        await super().redraw()
        await self._look()

    @on(ModelStarted)
    async def _look_at_model(self) -> None:
        await self._look()

    async def _look(self) -> None:
        async with self._looking:  # a command changes the chat while the model is being loaded
            if self.session.conversation.turns:
                await self._look_at_chat()
            else:
                await self._allow()
                await self._introduce()

    # The model that answers

    async def _introduce(self) -> None:
        """Tell the empty screen of the model, and whether it is the first one ever."""
        facts = await asyncio.to_thread(find, self.session.model_uri)
        try:
            first = not await self.session.chats(limit=1)
        except EdgechatError:
            first = False
        for welcome in self.query(Welcome):
            welcome.facts, welcome.first = facts, first

    # Whether the chat may go on

    async def _look_at_chat(self) -> None:
        info, before = self.session.info, self.session.conversation.model
        chat = self.session.conversation_id
        await self._allow()
        if info is None or not before or before == info.name or chat in self._goes_on or self.sending:
            return
        if not await asyncio.to_thread(installed, before) and chat == self.session.conversation_id:
            self.read_only = before
            self.composer.accepting = False
            await self.query_one("#footer").mount(ForReading(before, info.name), before=0)

    async def _allow(self) -> None:
        if self.read_only:
            self.read_only = ""
            self.composer.accepting = not self.sending
        await self.query(ForReading).remove()

    async def action_resume(self) -> None:
        """Go on with the chat, if it is open for reading only; else with its last reply."""
        if not self.read_only:
            await super().action_resume()
            return
        self._goes_on.add(self.session.conversation_id)
        await self._allow()
        self.composer.hint("")
        self.composer.focus()

    def _keep(self) -> None:
        """See `ChatScreen`; here the chat may be the reason."""
        if self.read_only:
            self.composer.hint(_("open for reading; F7 goes on"), urgent=True)
        else:
            super()._keep()

    def _free(self) -> bool:
        """See `BranchingScreen`; a chat that is open for reading has no new replies."""
        if self.read_only:
            self._tell(_("This chat is open for reading; F7 goes on with it."))
            return False
        return super()._free()
