"""Changes that the session makes to its chats, shown on the screen or explained where they fail."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.i18n.error_messages import format_error

if TYPE_CHECKING:
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.reply_controller import ReplyController


class SessionChanges:
    """Has the session change something, and shows what came of it."""

    def __init__(self, host: ScreenHost, replies: ReplyController) -> None:
        """Change nothing yet.

        Args:
            host: Shows notifications, and the chat after a change.
            replies: Whether a reply is being written.
        """
        self._host = host
        self._replies = replies

    async def apply(self, change: Awaitable[object], otherwise: str) -> bool:
        """Change what the session holds and show it.

        Args:
            change: The session's work; its result is true if anything changed.
            otherwise: What to say where there was nothing to change; empty for nothing.

        Returns:
            Whether anything changed.
        """
        done = await self.attempt(change)
        if done:
            await self._host.redraw()
        elif done is False:
            self.notify(otherwise)
        return bool(done)

    async def attempt(self, change: Awaitable[object]) -> object:
        """The result of the session's work, or None after an error, which is shown."""
        try:
            return await change
        except EdgechatError as error:
            words = printable(format_error(error.title, error.message, error.hint))
            self._host.notify(words, severity="error", markup=False)
            return None

    def idle(self) -> bool:
        """Whether no reply is being written; if one is, say what to do."""
        if self._replies.sending:
            self.notify(_("A reply is being written; Esc stops it."))
        return not self._replies.sending

    def notify(self, words: str) -> None:
        """Show a notification, as text."""
        self._host.notify(printable(words), markup=False)
