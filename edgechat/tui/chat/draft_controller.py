"""The draft in the composer: saved while it is written, one for each chat, and restored at the next start.

Nothing here blocks: drafts are written in workers while the user writes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.history.drafts import Draft
from edgechat.i18n.error_messages import format_error
from edgechat.tui.widgets.collapsed_text import Folds

if TYPE_CHECKING:
    from textual.timer import Timer

    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.widgets.composer import Composer

SAVE_EVERY = 0.2
"""Seconds from a key to the draft being saved; a draft is to outlive the program's death half a second later."""


class DraftController:
    """Saves and restores drafts.

    Attributes:
        saved: The draft as it was saved last.
        unsaved_text: What was written and could not be saved at the end, to be printed once the terminal is free.
    """

    def __init__(self, session: Session, host: ScreenHost, composer: Composer) -> None:
        """Watch over the draft of the chat that the session holds.

        Args:
            session: Stores the drafts.
            host: Runs the timer and the worker that save, and is left while an editor runs.
            composer: Where the draft is written.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._chat = session.conversation.id
        self._restored = False  # until then what was left the last time must not be written over
        self._latest = Draft()
        self._saving = asyncio.Lock()
        self._timer: Timer | None = None
        self.saved = Draft()
        self.unsaved_text = ""

    def changed(self) -> None:
        """Save the draft soon."""
        self._latest = self._composer.unsent
        if self._timer is None:
            self._timer = self._host.set_timer(SAVE_EVERY, self._save_soon)

    def _save_soon(self) -> None:
        self._timer = None
        self._host.run_worker(self.save(), name="draft", group="draft")

    async def save(self) -> None:
        """Save the draft as it was at the last change."""
        async with self._saving:
            draft = self._latest
            if draft == self.saved or not self._restored:
                return
            try:
                await self._session.library.save_draft(self._chat, draft)
            except EdgechatError:
                return  # what is wrong with the disk is said when the message is sent; it stands here until then
            self.saved = draft

    async def message_stored(self) -> None:
        """Take the message out of the draft, now that it is in the history.

        From its first message on a chat has a number of its own, and the draft moves to it.
        """
        self._composer.pending.stored()
        self._latest = self._composer.unsent
        if (chat := self._session.conversation.id) != self._chat:
            before, self._chat, self.saved = self._chat, chat, Draft()
            await self._delete(before)
        await self.save()

    async def _delete(self, chat: int) -> None:
        try:
            await self._session.library.save_draft(chat, Draft())
        except EdgechatError:
            return

    async def show_current(self) -> None:
        """Save the draft of the chat before, and show that of the chat that the session holds now."""
        if (chat := self._session.conversation.id) == self._chat:
            return
        self._latest = self._composer.unsent_here
        await self.save()
        self._chat = chat
        try:
            self.saved = self._latest = await self._session.chat.draft()
        except EdgechatError:
            self.saved = self._latest = Draft()
        self._composer.show_draft(self.saved)

    async def restore(self) -> None:
        """Bring back what was left unsent the last time, and the messages sent before."""
        try:
            draft, sent = await self._session.chat.draft(), await self._session.library.sent_messages()
        except EdgechatError:
            draft, sent = Draft(), []  # a chat works without
        self._composer.sent.prepend(sent)
        self.saved = draft
        self._restored = True
        self._composer.add_draft(draft)

    async def edit_externally(self) -> None:
        """Let the user write the message in an editor of their own."""
        from edgechat.tui.external_editor import edited

        before = self._composer.message
        try:
            after = await edited(self._host.app, before)
        except EdgechatError as error:
            words = format_error(error.title, error.message, error.hint)
            self._host.notify(printable(words), severity="error", markup=False)
            return
        if after != before:
            self._composer.show_edited(after)
        self._composer.focus()

    async def close(self) -> None:
        """Save for the last time, while the session is still open."""
        if self._timer is not None:
            self._timer.stop()
        await self.save()
        if self._restored and self._latest != self.saved:
            self.unsaved_text = Folds(self._latest.pieces).unfold(self._latest.text)
