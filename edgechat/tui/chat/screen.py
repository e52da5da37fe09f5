"""The chat screen: the conversation, the composer, the status line and the list of chats, and the session behind them.

The screen composes, binds the keys and routes: Textual's messages and actions arrive here, and each is handed to the
controller that owns what it is about. It stores nothing of the conversation itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static
from textual.widgets._text_area import TextArea

from edgechat.chat.context_window import Policy
from edgechat.i18n.catalog import _
from edgechat.session.session import Session, TurnSaved
from edgechat.tui import glyphs, messages
from edgechat.tui.chat.attachment_controller import AttachmentController
from edgechat.tui.chat.branch_actions import BranchActions
from edgechat.tui.chat.chat_list_controller import ChatListController
from edgechat.tui.chat.command_runner import CommandRunner
from edgechat.tui.chat.context_notices import ContextNotices
from edgechat.tui.chat.deferred_imports import import_dialogs
from edgechat.tui.chat.draft_controller import DraftController
from edgechat.tui.chat.draft_length import DraftLength
from edgechat.tui.chat.key_bindings import CHAT_BINDINGS
from edgechat.tui.chat.message_edit import MessageEdit
from edgechat.tui.chat.model_loader import ModelLoader
from edgechat.tui.chat.model_switch import ModelSwitch
from edgechat.tui.chat.read_only import ReadOnlyGuard
from edgechat.tui.chat.reply_controller import ReplyController
from edgechat.tui.chat.session_changes import SessionChanges
from edgechat.tui.chat.startup import Startup
from edgechat.tui.chat.status_reporter import StatusReporter
from edgechat.tui.chat.turn_actions import HINT, SHORT_HINT, TurnActions
from edgechat.tui.clipboard import EXPORT, copy
from edgechat.tui.rtl import DirectedScreen
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.new_text_indicator import Stage
from edgechat.tui.widgets.status import Activity, StatusLine
from edgechat.tui.widgets.suggestions import Suggestions

if TYPE_CHECKING:
    from edgechat.tui.widgets.sidebar import ChatList

LEAST = (30, 9)
"""Columns and rows below which the screen says that it is too small."""


class ChatScreen(DirectedScreen):
    """The one screen people live in.

    Attributes:
        session: What is talked to.
        view: The conversation.
        composer: Where the message is written.
        suggestions: The list above the composer.
        status_line: The last line.
        sidebar: Where the list of chats is.
    """

    AUTO_FOCUS = "Composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (30, "-narrow"), (60, "-roomy")]  # noqa: RUF012 - typed by the base class
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (9, "-low"), (20, "-tall")]  # noqa: RUF012 - as above
    BINDINGS: ClassVar[list[BindingType]] = [*CHAT_BINDINGS]

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen.

        Args:
            session: What is talked to; the app closes it.
            notices: Words for the user, shown once above the chat.
        """
        super().__init__()
        self.session = session
        self._fitted: Size | None = None

        self.view = view = ConversationView(session.conversation.turns, notices=notices)
        self.suggestions = Suggestions()
        self.composer = composer = Composer(self.suggestions)
        self.status_line = StatusLine(id="status")
        self.sidebar = Vertical(id="sidebar")
        self._footer = Vertical(id="footer")

        self.status = status = StatusReporter(session, self.status_line)
        self.context = context = ContextNotices(session, self, composer)
        self.drafts = drafts = DraftController(session, self, composer)
        self.length = length = DraftLength(session, self, composer)
        self.loader = loader = ModelLoader(session, self, view, status)
        self.switch = switch = ModelSwitch(session, self, composer, view, status, loader)
        self.replies = replies = ReplyController(
            session, self, composer, view, status, context, drafts, length, loader, switch
        )
        self.edits = edits = MessageEdit(session, composer)
        self.guard = guard = ReadOnlyGuard(session, self, composer, view, self._footer, replies)
        changes = SessionChanges(self, replies)
        self.branches = branches = BranchActions(session, self, replies, changes, edits, guard)
        self.turns = TurnActions(session, self, view, branches, changes, context)
        self.attachments = files = AttachmentController(session, self, composer, self.suggestions, length)
        self.chat_list = chats = ChatListController(session, self, self.sidebar, composer, view, changes)
        self.commands = CommandRunner(session, self, composer, view, drafts, replies, files, chats, switch)
        self.startup = Startup(session, self, view, loader, drafts, replies, import_dialogs)

    def compose(self) -> ComposeResult:
        """The parts that make the first paint; everything slow waits until after it."""
        yield Static(id="too-small")
        with Horizontal(id="room"):
            with self.sidebar:
                yield Static(Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")), id="name")
            with Vertical(id="main"):
                yield Stage(self.view)
                with self._footer:
                    yield self.suggestions
                    yield self.composer
                    yield self.status_line

    @property
    def sending(self) -> bool:
        """Whether a reply was requested and has not ended yet."""
        return self.replies.sending

    # Start, size and end

    @on(events.Mount)
    def _leave_first_paint_alone(self) -> None:
        self.call_after_refresh(self._start)

    async def _start(self) -> None:
        await self.startup.run()
        await self.guard.check()
        await self.chat_list.open_after_start()

    @on(events.Unmount)
    async def _close(self) -> None:
        """The session is still open."""
        self.startup.close()
        await self.drafts.close()

    def check_message_enabled(self, message: Message) -> bool:
        """Whether to take a message: a size that this screen has already is no news, though Textual tells it twice."""
        if isinstance(message, events.Resize) and message.size == self._fitted:
            return False
        return super().check_message_enabled(message)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the list of chats and the composer, and say so when there is too little room."""
        self._fitted = event.size
        self.chat_list.resize(event.size.width)
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        note = self.query_one("#too-small", Static)
        note.display = small
        note.update(_("too small: use 40x12"))
        # A style sheet has no third of the screen: a percentage is of the footer, which grows with what is written.
        self.composer.styles.max_height = max(3, event.size.height // 3)

    # What is shown

    async def redraw(self) -> None:
        """Show the chat and branch that the session holds now."""
        if self.edits.active:  # what was edited may not be there any more
            self.action_stop()
        await self.drafts.show_current()
        turns = self.session.conversation.turns
        if turns:
            await self.view.show(turns)
        else:
            welcome = await self.view.begin_chat()
            welcome.info = self.session.info
        if self.session.info is not None:
            self.status.show(Activity.READY)
        self.composer.focus()
        await self.guard.check()
        self.chats_changed()

    def chats_changed(self) -> None:
        """Refresh the list of chats."""
        self.chat_list.refresh()

    def switch_model(self, uri: str | None) -> None:
        """Go on with another model, loaded in the background; Esc goes back to the one before.

        Args:
            uri: See `Session.switch`.
        """
        self.switch.start(uri, sending=self.sending)

    # From the composer

    @on(Composer.Submitted)
    def _send(self, message: Composer.Submitted) -> None:
        if self.sending:  # whoever posted it did not ask the composer
            self.composer.restore(message.text)
            self._explain_refusal()
        elif self.switch.active:
            self.switch.refuse(message.text)
        else:
            self.turns.forget_copied_code()
            self.replies.start(self.edits.send(message.text), message.text)

    @on(Composer.Refused)
    def _explain_refusal(self) -> None:
        if self.guard.model:
            self.guard.explain_refusal()
        else:
            self.replies.explain_refusal()

    @on(Composer.Commanded)
    def _run_command(self, message: Composer.Commanded) -> None:
        self.commands.start(message.line)

    @on(messages.CommandFailed)
    async def _show_failed_command(self, message: messages.CommandFailed) -> None:
        await self.commands.show_failure(message)

    @on(Composer.Dropped)
    def _offer_to_attach(self, message: Composer.Dropped) -> None:
        self.attachments.offer(message)

    @on(TextArea.Changed, "#composer")
    def _draft_changed(self) -> None:
        self.drafts.changed()
        self.length.update()

    @on(messages.TokensCounted)
    def _show_length(self, message: messages.TokensCounted) -> None:
        self.length.counted(message)

    # From the session and its model

    @on(messages.SessionYielded)
    async def _show_event(self, message: messages.SessionYielded) -> None:
        if isinstance(message.event, TurnSaved):
            self.chats_changed()
        await self.replies.show(message.event)

    @on(messages.SendEnded)
    async def _finish_reply(self, message: messages.SendEnded) -> None:
        self.chats_changed()
        await self.replies.finish(message)
        self.startup.collect_when_idle()

    @on(messages.StopFailed)
    def _show_failed_stop(self, message: messages.StopFailed) -> None:
        self.replies.show_stop_failure(message)

    @on(messages.ModelProgressed)
    def _show_loading(self, message: messages.ModelProgressed) -> None:
        self.status.show_progress(message.progress)

    @on(messages.ModelStarted)
    async def _show_model(self) -> None:
        await self.guard.check()
        await self.loader.started(sending=self.sending)

    @on(messages.ModelFailed)
    async def _show_failed_load(self, message: messages.ModelFailed) -> None:
        await self.loader.failed(message.error, sending=self.sending)

    @on(messages.PromptCame)
    def _show_prompt(self, message: messages.PromptCame) -> None:
        self.context.show_prompt(message)

    @on(messages.PromptFailed)
    def _show_failed_prompt(self, message: messages.PromptFailed) -> None:
        self.context.show_prompt_failure(message)

    # From the conversation and the list of chats; the list is not imported before the first paint

    @on(ConversationView.Entered)
    def _explain_reading(self) -> None:
        if not self.sending:
            self.composer.edge.hint(_(HINT), short=_(SHORT_HINT))

    @on(ConversationView.Exited)
    def _end_reading(self) -> None:
        if not self.sending and not self.edits.active:
            self.composer.edge.hint("")

    @on(ConversationView.Left)
    def _write_again(self) -> None:
        if self.sending:
            self.action_stop()
        self.composer.focus()

    @on(ConversationView.Asked)
    async def _act_on_turn(self, message: ConversationView.Asked) -> None:
        await self.turns.run(message.action, message.turn)

    def _on_chat_list_left(self) -> None:
        self.chat_list.leave()

    async def _on_chat_list_opened(self, message: ChatList.Opened) -> None:
        await self.chat_list.open(message.choice)

    async def _on_chat_list_asked(self, message: ChatList.Asked) -> None:
        await self.chat_list.run(message.action, message.choice)

    # Keys

    @on(events.Key)
    def _type_into_composer(self, event: events.Key) -> None:
        """Typing belongs to the composer, wherever the focus was, unless it is a key of what has the focus."""
        if event.is_printable and event.character and self.focused is not self.composer:
            if event.key in self.active_bindings:
                return
            event.stop()
            self.composer.focus()
            self.composer.insert(event.character)

    def action_stop(self) -> None:
        """Stop a reply or a model's loading, or leave what is edited or selected; with nothing of the kind, read."""
        if self.sending:
            self.replies.stop()
        elif self.edits.active:
            self.edits.cancel()
        elif self.switch.cancel():
            return
        elif self.loader.loading:
            self.replies.stop()
        elif self.get_selected_text():
            self.clear_selection()
        elif self.composer.has_focus:
            self.call_next(self.action_read)

    async def action_new_chat(self) -> None:
        """Start a new chat."""
        await self.replies.new_chat()

    def action_scroll(self, pages: int) -> None:
        """Scroll the conversation by a page."""
        self.view.scroll_pages(pages)

    def action_top(self) -> None:
        """Go to the first turn shown; there, bring those before it."""
        self.view.scroll_to_top()

    async def action_tail(self) -> None:
        """Go to the end and follow it again."""
        await self.view.follow()

    def action_choose_policy(self, policy: Policy) -> None:
        """Set what happens when a chat no longer fits, for this run."""
        self.context.choose_policy(policy)

    def action_show_prompt(self) -> None:
        """Show what the model reads."""
        self.context.request_prompt()

    async def action_external_editor(self) -> None:
        """Let the user write the message in an editor of their own."""
        await self.drafts.edit_externally()

    def action_copy_reply(self) -> None:
        """Copy the newest reply as it was written."""
        if text := self.view.last_reply():
            copy(self.app, text, _("The last reply is in the clipboard."), _(EXPORT))

    def action_regenerate(self) -> None:
        """Answer the last message once more."""
        self.branches.regenerate()

    async def action_resume(self) -> None:
        """Go on with the chat, if it is open for reading only; else with its last reply."""
        await self.branches.resume()

    def action_edit(self) -> None:
        """Take the last message into the composer; what was written there waits."""
        self.branches.edit()

    async def action_step(self, by: int) -> None:
        """Show the next or the previous version of the chat."""
        await self.branches.step(by)

    async def action_delete_turn(self) -> None:
        """Delete the last message and its replies."""
        await self.branches.delete_turn()

    async def action_delete_chat(self) -> None:
        """Delete the chat and start another."""
        await self.branches.delete_chat()

    async def action_undelete(self) -> None:
        """Undo the last delete."""
        await self.branches.undelete()

    def action_rename(self) -> None:
        """Ask for another title."""
        self.branches.rename()

    @on(Composer.Left)
    async def action_read(self) -> None:
        """Go to the conversation, with its last turn marked."""
        await self.turns.read_last()

    async def action_sidebar(self) -> None:
        """Fold the list of chats, or open it and go there."""
        await self.chat_list.toggle()

    async def action_chats(self) -> None:
        """Open the list of chats at its search."""
        await self.chat_list.search()
