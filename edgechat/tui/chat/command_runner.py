"""Slash commands that are written in the composer: run in the background, and given back where they fail.

A command is a draft until what it says is stored or shown, so that nothing of it is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.tui.messages import CommandFailed
from edgechat.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.slash.commands import Command
    from edgechat.tui.chat.attachment_controller import AttachmentController
    from edgechat.tui.chat.chat_list_controller import ChatListController
    from edgechat.tui.chat.draft_controller import DraftController
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.model_switch import ModelSwitch
    from edgechat.tui.chat.reply_controller import ReplyController
    from edgechat.tui.widgets.conversation import ConversationView


class CommandRunner:
    """Runs slash commands."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        composer: Composer,
        view: ConversationView,
        drafts: DraftController,
        replies: ReplyController,
        attachments: AttachmentController,
        chat_list: ChatListController,
        switch: ModelSwitch,
    ) -> None:
        """Run nothing yet.

        Args:
            session: What commands are about.
            host: Runs the worker, and the actions that commands stand for.
            composer: Where commands are written.
            view: Shows what failed.
            drafts: Saves the draft without a command that was obeyed.
            replies: Follows a reply that a command asks for.
            attachments: Attaches a file.
            chat_list: Searches the chats.
            switch: Goes on with another model.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._view = view
        self._drafts = drafts
        self._replies = replies
        self._attachments = attachments
        self._chat_list = chat_list
        self._switch = switch

    def start(self, line: str) -> None:
        """Run a command in the background, as it was written."""
        self._host.run_worker(self._run(line), name="command", group="command")

    async def _run(self, line: str) -> None:
        from edgechat.slash.commands import parse
        from edgechat.tui.chat.slash_commands import ScreenFront  # what commands do is imported with the first of them

        front = ScreenFront(
            self._session,
            self._host,
            self._composer,
            replies=self._replies,
            attachments=self._attachments,
            chat_list=self._chat_list,
            switch=self._switch,
        )
        try:
            call = parse(line)
            if not call.argument:  # there is nothing to lose, and it may be the one that leaves
                self._end(line)
            await front.obey(call)
        except EdgechatError as error:
            self._host.post_message(CommandFailed(line, error))
        else:
            self._end(line)

    def _end(self, line: str) -> None:
        self._composer.pending.end_command(line)
        self._drafts.changed()

    async def show_failure(self, message: CommandFailed) -> None:
        """Give a command back, and show why it could not be obeyed."""
        if message.line:
            self._composer.restore_command(message.line)
        await self._view.show_error(message.error)

    def palette_commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """Commands that the palette has under no other name: title, help and action."""
        from edgechat.slash.commands import COMMANDS
        from edgechat.tui.chat.slash_commands import ACTIONS

        for command in COMMANDS:
            if command.name not in ACTIONS:
                yield f"/{command.name}", _(command.help), partial(self._begin, command)

    def _begin(self, command: Command) -> None:
        if command.arguments:
            self._composer.show_command(f"/{command.name} ")
            self._composer.focus()
        else:
            self._composer.post_message(Composer.Commanded(f"/{command.name}"))
