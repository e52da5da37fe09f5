"""Actions on the whole chat: another reply, other versions, deleting with undo, and its title.

Each asks the session and shows what it holds then; nothing of a chat is stored here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechat.chat.conversation import ReplyState
from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import _

if TYPE_CHECKING:
    from edgechat.chat.conversation import Turn
    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.message_edit import MessageEdit
    from edgechat.tui.chat.read_only import ReadOnlyGuard
    from edgechat.tui.chat.reply_controller import ReplyController
    from edgechat.tui.chat.session_changes import SessionChanges


class BranchActions:
    """Changes which branch of a chat, or which chat, is shown."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        replies: ReplyController,
        changes: SessionChanges,
        edits: MessageEdit,
        guard: ReadOnlyGuard,
    ) -> None:
        """Act on a session.

        Args:
            session: The chats.
            host: Opens the card for the title.
            replies: Follows a new reply.
            changes: Shows what was changed.
            edits: Edits a message.
            guard: Whether the chat may go on.
        """
        self._session = session
        self._host = host
        self._replies = replies
        self._changes = changes
        self._edits = edits
        self._guard = guard

    def can_reply(self) -> bool:
        """Whether a reply can be requested now; if not, say what to do."""
        return self._guard.allows_reply() and self._changes.idle()

    # Replies

    def regenerate(self) -> None:
        """Answer the last message once more."""
        if not self.can_reply():
            return
        if self._session.conversation.turns:
            self._replies.start(self._session.regenerate())
        else:
            self._changes.notify(_("There is no message to answer."))

    def regenerate_turn(self, turn: Turn) -> None:
        """Answer a message once more."""
        if not self.can_reply():
            return
        if turn.id == self._session.conversation.turns[-1].id:
            self._replies.start(self._session.regenerate())
        else:  # what follows was said to the reply that is there, and stays with it on a branch of its own
            self._replies.start(self._session.edit(turn.id, turn.user))

    async def resume(self) -> None:
        """Go on with the chat, if it is open for reading only; else with its last reply."""
        if self._guard.model:
            await self._guard.release()
            return
        if not self.can_reply():
            return
        turns = self._session.conversation.turns
        reply = turns[-1].reply if turns else None
        if reply is not None and reply.text and reply.state is not ReplyState.COMPLETE:
            self._replies.start(self._session.resume())
        else:
            self._changes.notify(_("The last reply ended by itself; there is nothing to go on with."))

    def edit(self) -> None:
        """Take the last message into the composer."""
        if turns := self._session.conversation.turns:
            self.edit_turn(turns[-1])

    def edit_turn(self, turn: Turn) -> None:
        """Take a message of the branch that is shown into the composer."""
        if self.can_reply() and not self._edits.active:
            self._edits.start(turn)

    # Branches and chats

    async def step(self, by: int) -> None:
        """Show the next or the previous version of the chat."""
        await self._changes.apply(self._session.chat.step(by), _("There is no other version in that direction."))

    async def delete_turn(self) -> None:
        """Delete the last message and its replies."""
        if await self._changes.apply(self._session.library.delete_turn(), _("There is no message to delete.")):
            self._changes.notify(_("The last message is deleted. F9 has it back."))

    async def delete_chat(self) -> None:
        """Delete the chat and start another."""
        if await self._changes.apply(self._session.library.delete_chat(), _("There is no chat to delete.")):
            self._changes.notify(_("The chat is deleted. F9 has it back, for 30 days."))

    async def undelete(self) -> None:
        """Undo the last delete."""
        await self._changes.apply(self._session.library.undelete(), _("Nothing was deleted here."))

    def rename(self) -> None:
        """Ask for another title."""
        from edgechat.tui.dialogs.text_prompt import AskCard

        if not self._session.conversation.id:
            self._changes.notify(_("The chat has no message yet; its first one becomes its title."))
            return
        title = printable(self._session.conversation.title)

        async def rename(wanted: str | None) -> None:
            if wanted and wanted != title:
                await self._changes.attempt(self._session.library.rename(wanted))
                self._host.chats_changed()

        self._host.app.push_screen(AskCard(_("Title of this chat"), title), rename)
