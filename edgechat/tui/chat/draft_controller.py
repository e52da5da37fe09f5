"""What a chat screen does about the message being written: its draft, its length, attachments, commands, the editor.

It is the part of the chat screen that knows of the composer, and of nothing of a reply. Nothing here blocks: files are
read, drafts are kept and tokens are counted while the user writes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.binding import Binding
from textual.events import Unmount
from textual.timer import Timer
from textual.widgets._text_area import TextArea

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.history.drafts import Draft
from edgechat.i18n.catalog import N_, _, format_error, ngettext
from edgechat.slash import is_command
from edgechat.tui import glyphs
from edgechat.tui.chat.context_notices import ContextScreen
from edgechat.tui.messages import CommandFailed, TokensCounted
from edgechat.tui.widgets.collapsed_text import Folds
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.suggestions import Choice, Suggestions

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.slash.commands import Call, Command

KEEP_EVERY = 0.2
"""Seconds from a key to the draft being kept; a draft is to outlive the program's death half a second later."""

COUNT_AFTER = 0.4
"""Seconds without a key after which the message's tokens are counted and computed."""

CHARACTERS_A_TOKEN = 4.0
"""A guess, until something was counted."""

WRITING_BINDINGS = (
    Binding(
        "ctrl+g",
        "external_editor",
        N_("Editor"),
        id="composer.editor",
        tooltip=N_("Write the message in your own editor (EDITOR)"),
        priority=True,
    ),
)


class WritingScreen(ContextScreen):
    """A screen with a session, a composer and a list above it.

    Attributes:
        unkept: What was written and could not be kept at the end, for the words of farewell.
    """

    def __init__(self, session: Session) -> None:
        """Make the screen; see `ContextScreen`."""
        super().__init__(session)
        self.suggestions = Suggestions()
        self._draft_of = session.conversation.id
        self._begun = False  # until then what was left the last time must not be written over
        self._kept = self._latest = Draft()
        self._keeping = asyncio.Lock()
        self._keep_timer: Timer | None = None
        self._count_timer: Timer | None = None
        self._counting = False
        self._ratio = CHARACTERS_A_TOKEN
        self.unkept = ""

    async def show_error(self, error: EdgechatError) -> None:
        """Show an error as a card."""
        raise NotImplementedError

    @on(TextArea.Changed, "#composer")
    def _written(self) -> None:
        self._draft_changed()
        self.measure_draft()

    # The draft

    def _draft_changed(self) -> None:
        self._look_at_draft()
        if self._keep_timer is None:
            self._keep_timer = self.set_timer(KEEP_EVERY, self._keep_soon)

    def _keep_soon(self) -> None:
        self._keep_timer = None
        self.run_worker(self.keep_draft(), name="draft", group="draft")

    def _look_at_draft(self) -> None:
        self._latest = self.composer.unsent

    async def keep_draft(self) -> None:
        """Keep what was written last."""
        async with self._keeping:
            draft = self._latest
            if draft == self._kept or not self._begun:
                return
            try:
                await self.session.keep_draft(self._draft_of, draft)
            except EdgechatError:
                return  # what is wrong with the disk is told when the message is sent; it stands here until then
            self._kept = draft

    async def let_go(self) -> None:
        """The message is in the chat: only now it leaves the draft, which belongs to the chat's number from now on."""
        self.composer.let_go()
        self._look_at_draft()
        if (chat := self.session.conversation.id) != self._draft_of:
            before, self._draft_of, self._kept = self._draft_of, chat, Draft()
            await self._forget_draft(before)
        await self.keep_draft()

    async def _forget_draft(self, chat: int) -> None:
        try:
            await self.session.keep_draft(chat, Draft())
        except EdgechatError:
            return

    async def show_draft(self) -> None:
        """Show the draft of the chat that is held now, and keep that of the chat before."""
        if (chat := self.session.conversation.id) == self._draft_of:
            return
        self._latest = self.composer.unsent_here
        await self.keep_draft()
        self._draft_of = chat
        try:
            self._kept = self._latest = await self.session.draft()
        except EdgechatError:
            self._kept = self._latest = Draft()
        self.composer.show_draft(self._kept)

    async def begin_writing(self) -> None:
        """Bring what was left unsent the last time, and the messages sent before."""
        try:
            draft, sent = await self.session.draft(), await self.session.sent_before()
        except EdgechatError:
            draft, sent = Draft(), []  # the chat can be held without
        self.composer.remember(sent)
        self._kept = draft
        self._begun = True
        self.composer.add_draft(draft)

    @on(Unmount)
    async def _keep_last_words(self) -> None:
        """The session is still open."""
        if self._keep_timer is not None:
            self._keep_timer.stop()
        await self.keep_draft()
        if self._begun and self._latest != self._kept:
            self.unkept = Folds(self._latest.pieces).unfold(self._latest.text)

    # Its length

    def measure_draft(self) -> None:
        """Tell how long the message is with the chat, which may have grown; count it when nobody writes.

        It may be whole then, so that the model reads it; what is sent unchanged is answered at once.
        """
        self._estimate()
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.set_timer(COUNT_AFTER, self._count_soon)

    def _estimate(self) -> None:
        length = len(self.composer.message)
        self._show_tokens(round(length / self._ratio) if length else 0, exact=False)

    def _count_soon(self) -> None:
        self._count_timer = None
        if self._counting:
            return
        message = "" if is_command(self.composer.text) else self.composer.message
        if not self.composer.lent:  # else it belongs to another place of the chat
            self.session.warm(message if message.strip() else "")
        if message.strip():
            self._counting = True
            self.run_worker(self._count(message), name="count", group="count")

    async def _count(self, text: str) -> None:
        try:
            tokens = await self.session.count(text)
        except EdgechatError:
            tokens = None  # whoever sends the message is told
        self.post_message(TokensCounted(text, tokens))

    @on(TokensCounted)
    def _show_count(self, message: TokensCounted) -> None:
        self._counting = False
        if message.tokens:
            self._ratio = len(message.text) / message.tokens
        if self.composer.message != message.text:
            if self._count_timer is None:
                self._count_timer = self.set_timer(COUNT_AFTER, self._count_soon)
        elif message.tokens is not None:
            self._show_tokens(message.tokens, exact=True)

    def _show_tokens(self, tokens: int, *, exact: bool) -> None:
        if not tokens or is_command(self.composer.text):
            self.composer.measure("")
            return
        words = short = ngettext("{n} token", "{n} tokens", tokens).format(n=f"{tokens:,}")
        context = self.session.info.context if self.session.info is not None else 0
        used = self.session.context_used + tokens
        if context:
            words = _("{tokens}, {used:,} of {context:,} with the chat").format(
                tokens=short, used=used, context=context
            )
            short = _("{tokens}, {used:,} of {context:,}").format(tokens=short, used=used, context=context)
        about = "" if exact else f"{glyphs.ABOUT} "
        urgent = bool(context) and used >= context
        self.composer.measure(about + words, short=about + short, urgent=urgent)

    # Attached files

    async def attach(self, path: Path) -> None:
        """Let a text file go along with the message being written.

        Raises:
            AttachmentError: It cannot be read, is not text, or is larger than the context.
        """
        from edgechat.slash.files import read_for

        attachment, tokens = await read_for(self.session, path)
        guessed = tokens if tokens is not None else max(1, round(len(attachment.block) / self._ratio))
        sign = "" if tokens is not None else f"{glyphs.ABOUT} "
        size = ngettext("{n} token", "{n} tokens", guessed).format(n=f"{guessed:,}")
        name = attachment.name if len(attachment.name) <= 40 else f"{attachment.name[:39]}\u2026"
        self.composer.attach(f"{name}, {sign}{size}", attachment.block)
        self.composer.focus()

    @on(Composer.Dropped)
    def _offer_to_attach(self, message: Composer.Dropped) -> None:
        names = ", ".join(path.name for path in message.paths)
        self.suggestions.offer(
            [
                Choice(_("Attach {names}").format(names=names), _("as text"), partial(self._attach_dropped, message)),
                Choice(_("Leave the path as it is"), "", lambda _send: None),
            ]
        )

    def _attach_dropped(self, message: Composer.Dropped, _send: bool) -> None:
        self.composer.replace_text(message.pasted, "")
        self.run_worker(self._attach_all(message), name="attach", group="command")

    async def _attach_all(self, message: Composer.Dropped) -> None:
        try:
            for path in message.paths:
                await self.attach(path)
        except EdgechatError as error:
            self.post_message(CommandFailed("", error))

    # Commands

    @on(Composer.Commanded)
    def _obey(self, message: Composer.Commanded) -> None:
        self.run_worker(self._run(message.line), name="command", group="command")

    async def _run(self, line: str) -> None:
        from edgechat.slash.commands import parse

        try:
            call = parse(line)
            if not call.argument:  # there is nothing to lose, and it may be the one that leaves
                self._end_command(line)
            await self.obey(call)
        except EdgechatError as error:
            self.post_message(CommandFailed(line, error))
        else:
            self._end_command(line)

    def _end_command(self, line: str) -> None:
        """A command is a draft until what it says is stored or told."""
        self.composer.end_command(line)
        self._draft_changed()

    def send_off(self, line: str) -> None:
        """What the command says goes into the chat, and is a draft until it is there."""
        self.composer.send_off(line)

    async def obey(self, call: Call) -> None:
        """Do what a command asks for. Raises EdgechatError."""
        raise NotImplementedError

    @on(CommandFailed)
    async def _show_failed_command(self, message: CommandFailed) -> None:
        if message.line:
            self.composer.end_command(message.line)
            self.composer.give_back(message.line)
        await self.show_error(message.error)

    def slash_commands(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Commands for the palette that are not in it under another name: title, help and action."""
        from edgechat.slash.commands import COMMANDS
        from edgechat.tui.slash_commands import ACTIONS

        for command in COMMANDS:
            if command.name not in ACTIONS:
                yield f"/{command.name}", _(command.help), partial(self._begin_command, command)

    def _begin_command(self, command: Command) -> None:
        if command.arguments:
            self.composer.show_command(f"/{command.name} ")
            self.composer.focus()
        else:
            self.composer.post_message(Composer.Commanded(f"/{command.name}"))

    # The editor

    async def action_external_editor(self) -> None:
        """Let the user write the message in an editor of their own."""
        from edgechat.tui.external_editor import edited

        before = self.composer.message
        try:
            after = await edited(self.app, before)
        except EdgechatError as error:
            words = format_error(error.title, error.message, error.hint)
            self.notify(printable(words), severity="error", markup=False)
            return
        if after != before:
            self.composer.show_edited(after)
        self.composer.focus()
