"""Slash commands in the terminal interface: what the screen does in its own way, and the way to it for the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.errors import EngineError
from edgechat.i18n.catalog import _
from edgechat.slash.handlers import run_command
from edgechat.tui.clipboard import EXPORT, copy

if TYPE_CHECKING:
    from edgechat.session.session import Session, SessionEvent
    from edgechat.slash.commands import Call
    from edgechat.tui.chat.attachment_controller import AttachmentController
    from edgechat.tui.chat.chat_list_controller import ChatListController
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.model_switch import ModelSwitch
    from edgechat.tui.chat.reply_controller import ReplyController
    from edgechat.tui.widgets.composer import Composer

ACTIONS = {
    "chats": "chats",
    "continue": "resume",
    "copy": "copy_reply",
    "delete-message": "delete_turn",
    "doctor": "app.doctor",
    "edit": "edit",
    "delete": "delete_chat",
    "log": "app.log",
    "model": "app.models",
    "new": "new_chat",
    "next": "step(1)",
    "previous": "step(-1)",
    "prompt": "show_prompt",
    "quit": "app.quit",
    "regen": "regenerate",
    "undo": "undelete",
}
"""The screen's own actions for commands that stand alone; they have keys, and are in the palette by themselves."""


class ScreenFront:
    """The chat screen as one command sees it: a `slash.interface.Front`."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        composer: Composer,
        *,
        replies: ReplyController,
        attachments: AttachmentController,
        chat_list: ChatListController,
        switch: ModelSwitch,
    ) -> None:
        """Stand for the screen that these are parts of.

        Args:
            session: What commands are about.
            host: The screen itself, with its actions.
            composer: Where the command was written.
            replies: Follows a reply that the command asks for.
            attachments: Attaches a file.
            chat_list: Searches the chats.
            switch: Goes on with another model.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._replies = replies
        self._attachments = attachments
        self._chat_list = chat_list
        self._switch = switch
        self._line = ""

    @property
    def session(self) -> Session:
        """What is talked to."""
        return self._session

    async def obey(self, call: Call) -> None:
        """Do what a command asks for. Raises EdgechatError."""
        self._line = call.line
        action = ACTIONS.get(call.command.name)
        if action is not None and not call.argument:
            await self._host.run_action(action)
        elif call.command.name == "search":
            await self._chat_list.search(call.argument)
        else:
            await run_command(self, call)

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """Show an answer of several lines in a card."""
        from edgechat.tui.dialogs.text import AnswerScreen  # its style sheet is for those who open it

        self._host.app.push_screen(AnswerScreen(title, lines))

    async def say(self, words: str) -> None:
        """Show one line as a notification."""
        self._host.notify(printable(words), markup=False)

    async def follow(self, stream: AsyncGenerator[SessionEvent, None]) -> None:
        """Have the screen show a reply; nobody waits here for its end."""
        if self._replies.sending:
            raise EngineError("A reply is being written", "", "Stop it with Esc, or wait.")
        self._composer.pending.send_command(self._line)
        self._replies.start(stream)

    async def show_chat(self) -> None:
        """Show the chat and the branch that the session holds now."""
        await self._host.redraw()

    async def refresh(self) -> None:
        """Show anew what is known about the chat."""
        self._host.chats_changed()
        if not self._replies.sending:  # the reply that is written is shown by itself
            await self._host.redraw()

    async def switch(self, uri: str) -> None:
        """Load another model in the background; Esc goes back."""
        self._switch.start(uri, sending=self._replies.sending)

    async def attach(self, path: Path) -> None:
        """Attach a text file to the next message. Raises AttachmentError."""
        await self._attachments.attach(path)

    async def copy(self, text: str) -> None:
        """Put a text into the clipboard."""
        copy(self._host.app, text, _("The last reply is in the clipboard."), _(EXPORT))

    async def leave(self) -> None:
        """End the interface."""
        await self._host.run_action("app.quit")
