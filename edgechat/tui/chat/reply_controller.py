"""The chat: one conversation, a composer, a status line, and the session behind them.

Workers read the session and post what it says; the handlers here are the only ones to change what is shown. The screen
keeps nothing of the conversation itself: a reply lives in the session and, drawn, in its turn view.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static

from edgechat.chat.context_window import moved_notice
from edgechat.chat.conversation import ReplyState
from edgechat.engine.protocol import Progress, TextDelta
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _, translate_error
from edgechat.runtime import logs
from edgechat.session.context_manager import WindowMoved
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved
from edgechat.tui import glyphs
from edgechat.tui.chat.context_notices import CONTEXT_BINDINGS
from edgechat.tui.chat.draft_controller import WRITING_BINDINGS
from edgechat.tui.chat.startup import StartingScreen
from edgechat.tui.clipboard import EXPORT, copy
from edgechat.tui.messages import (
    SendEnded,
    SessionYielded,
    StopFailed,
)
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.new_text_indicator import Stage
from edgechat.tui.widgets.status import Activity, StatusLine, progress_words

if TYPE_CHECKING:
    from edgechat.tui.app import EdgechatApp

SPEED_EVERY = 0.5
"""Seconds between two guesses of the speed while a reply is written."""

IDLE = 2.0
"""Seconds after a reply in which nobody is expected to be waiting for a key."""

LEAST = (30, 9)
"""Columns and rows below which the screen says that it is too small."""


class ChatScreen(StartingScreen):
    """The one screen people live in."""

    app: EdgechatApp
    AUTO_FOCUS = "Composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (30, "-narrow"), (60, "-roomy")]  # noqa: RUF012 - typed by the base class
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (9, "-low"), (20, "-tall")]  # noqa: RUF012 - as above
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape",
            "stop",
            N_("Stop"),
            id="chat.stop",
            tooltip=N_("Stop the reply and keep its text; with none, read the chat"),
        ),
        Binding(
            "ctrl+n", "new_chat", N_("New chat"), id="chat.new", tooltip=N_("Begin a new chat; this one stays saved")
        ),
        Binding("pageup", "scroll(-1)", N_("Scroll up"), id="chat.up", tooltip=N_("Scroll up a page"), priority=True),
        Binding(
            "pagedown", "scroll(1)", N_("Scroll down"), id="chat.down", tooltip=N_("Scroll down a page"), priority=True
        ),
        Binding(
            "ctrl+home", "top", N_("To the start"), id="chat.top", tooltip=N_("To the start of the chat"), priority=True
        ),
        Binding(
            "ctrl+end", "tail", N_("To the end"), id="chat.end", tooltip=N_("To the end, and follow it"), priority=True
        ),
        *CONTEXT_BINDINGS,
        *WRITING_BINDINGS,
    ]

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen.

        Args:
            session: What is talked to; the app closes it.
            notices: Words for the user, shown once above the chat.
        """
        super().__init__(session)
        self._notices = tuple(notices)
        self._saved = False
        self._stop_asked = False
        self._new_after = False
        self._fragments = 0
        self._prompt = 0
        self._first_fragment = 0.0
        self._last_guess = 0.0
        self._fitted: Size | None = None

    def compose(self) -> ComposeResult:
        """The parts that make the first paint; everything slow waits for `_settle`."""
        yield Static(id="too-small")
        with Horizontal(id="room"):
            with Vertical(id="sidebar"):
                yield Static(Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")), id="name")
            with Vertical(id="main"):
                yield Stage(ConversationView(self.session.conversation.turns, notices=self._notices))
                with Vertical(id="footer"):
                    yield self.suggestions
                    yield Composer(self.suggestions)
                    yield StatusLine(id="status")

    # A message and its reply

    @on(Composer.Submitted)
    def _take(self, message: Composer.Submitted) -> None:
        if self._sending:  # whoever posted it did not ask the composer
            self.composer.restore(message.text)
            self._keep()
            return
        if self.app.switching:
            self.composer.accepting = True
            if not self.composer.take_back():
                self.composer.restore(message.text)
            words, short = _("another model is being loaded; Esc goes back"), _("Esc goes back to the model before")
            self.composer.hint(words, short=short, urgent=True)
            return
        self.hold(self.answer_to(message.text), message.text)

    def answer_to(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """What the session does with a message that is sent."""
        return self.session.send(text)

    def hold(self, stream: AsyncGenerator[SessionEvent, None], text: str = "") -> None:
        """Follow a reply from its begin to its end; nothing else may be running.

        Args:
            stream: What the session yields.
            text: The message, to be given back if it cannot be saved.
        """
        self.composer.accepting = False
        self._sending, self._saved, self._stop_asked = True, False, False
        self._fragments = 0
        self._prompt = self.session.context_used
        self.composer.hint(_("Esc stops the reply"))
        if self.session.info is None and not self.app.switching:
            self.start_model()
            self._show(Activity.LOADING)
        else:
            self._show(Activity.READING)
        self.run_worker(self._send(stream, text), name="send", group="send")

    @on(Composer.Refused)
    def _refuse(self) -> None:
        self._keep()

    def _keep(self) -> None:
        """Say why the message stays in the composer."""
        words, short = _("a reply is being written; Esc stops it"), _("Esc stops the reply")
        self.composer.hint(words, short=short, urgent=True)

    async def _send(self, stream: AsyncGenerator[SessionEvent, None], text: str) -> None:
        failure: EdgechatError | None = None
        try:
            # Closed on every way out: leaving the generator to the collector would leave the reply running.
            async with aclosing(stream):
                async for event in stream:
                    self.post_message(SessionYielded(event))
        except EdgechatError as error:
            failure = error
        except Exception as error:  # whoever waits for the reply has to see its end
            failure = logs.fault(error, "a reply")
        self.post_message(SendEnded(text, failure))

    @on(SessionYielded)
    async def _follow(self, message: SessionYielded) -> None:
        match message.event:
            case TurnSaved(turn, notices):
                self._saved = True
                await self.view.begin_turn(turn, notices, path=self.session.conversation.turns)
                if self._stop_asked:  # before there was anything to stop
                    self.action_stop()
                await self.let_go()
            case Progress() as progress:
                if progress.phase == "prefill":
                    self._prompt = self._prompt_tokens(progress.total)
                self._show(*progress_words(progress))
            case WindowMoved(turns, summary):
                if self.view.live is not None:
                    await self.view.live.tell(moved_notice(len(turns), summary))
                self._show(Activity.READING)
            case TextDelta(text):
                self.view.write(text)
                self._guess()
            case TurnClosed(turn, finished):
                if self.view.live is not None:
                    await self.view.live.close(turn.reply)
                    await self.view.live.tell_facts(turn)
                    await self.warn_of_context(self.view.live)
                stopped = turn.reply is not None and turn.reply.state is ReplyState.STOPPED
                self._show(Activity.STOPPED if stopped else Activity.READY, finished=finished)

    @on(SendEnded)
    async def _end(self, message: SendEnded) -> None:
        if message.error is not None:
            await self._fail(message.text, message.error)
        self._sending = False
        self.set_timer(IDLE, self._tidy)
        await self.view.end_turn()
        await self.view.tell(self.session.conversation.turns)
        self.composer.accepting = True
        self.composer.hint("")
        self.measure_draft()
        if self._new_after:
            self._new_after = False
            await self._begin_chat()

    async def _fail(self, text: str, error: EdgechatError) -> None:
        self._show(Activity.ERROR, translate_error(error.title))
        shown = self.explain_full(error)
        # If the model was still being loaded, the chat has the message already; it is to be sent again all the same.
        if not self._saved and self.composer.take_back():
            pass
        elif (not self._saved or shown is not error) and text:
            self.composer.restore(text)
        if not self._saved:
            await self.view.show_error(shown)
        elif self.view.live is not None:
            await self.view.live.close(None, shown)

    def _prompt_tokens(self, computed: int) -> int:
        """Tokens of the prompt: those being computed come on top of what the model holds, unless they are all of it."""
        held = self.session.context_used
        return computed if computed >= held else held + computed

    def _guess(self) -> None:
        """A fragment is about a token; the engine's own measures replace these when the reply is over."""
        now = time.monotonic()
        self._fragments += 1
        if self._fragments == 1:
            self._first_fragment = self._last_guess = now
            self._show(Activity.WRITING)
        elif now - self._last_guess >= SPEED_EVERY:
            self._last_guess = now
            speed = (self._fragments - 1) / (now - self._first_fragment)
            status = self.status_line.status
            used = min(status.context, self._prompt + self._fragments)
            self.status_line.status = replace(status, used=used, speed=speed, exact=False)

    # What the user can do

    def action_stop(self) -> None:
        """Stop the reply, or the loading of the model; without either, drop the selection."""
        if self._sending:
            self._stop_asked = True
            self._show(Activity.STOPPING)
            self.run_worker(self._stop(), name="stop")
        elif self.app.cancel_switch():
            return
        elif self.loading_model:
            self._show(Activity.STOPPING)
            self.run_worker(self._stop(), name="stop")
        else:
            self.clear_selection()

    async def _stop(self) -> None:
        try:
            await self.session.stop()
        except EdgechatError as error:
            self.post_message(StopFailed(error))

    @on(StopFailed)
    def _show_failed_stop(self, message: StopFailed) -> None:
        self._show(Activity.ERROR, translate_error(message.error.title))

    async def action_new_chat(self) -> None:
        """Begin a new chat; a reply that is being written is stopped first and stays in the old one."""
        if self._sending:
            self._new_after = True
            self.action_stop()
        else:
            await self._begin_chat()

    async def _begin_chat(self) -> None:
        self.session.new()
        self.forget_context()
        await self.redraw()

    async def show_error(self, error: EdgechatError) -> None:
        """See `WritingScreen`."""
        await self.view.show_error(error)

    async def redraw(self) -> None:
        """Show the chat that the session holds now."""
        await self.show_draft()
        turns = self.session.conversation.turns
        if turns:
            await self.view.show(turns)
        else:
            welcome = await self.view.begin_chat()
            welcome.info = self.session.info
        if self.session.info is not None:
            self._show(Activity.READY)
        self.composer.focus()

    def action_scroll(self, pages: int) -> None:
        """Scroll the conversation by a page."""
        if pages < 0 and self.view.scroll_y <= 0:
            self.view.show_earlier()
        elif pages < 0:
            self.view.scroll_page_up(animate=False)
        else:
            self.view.scroll_page_down(animate=False)

    def action_top(self) -> None:
        """Go to the first turn shown; there, bring those before it."""
        if self.view.scroll_y <= 0:
            self.view.show_earlier()
        self.view.scroll_home(animate=False)

    async def action_tail(self) -> None:
        """Go to the end and follow it again."""
        await self.view.follow()

    def action_copy_reply(self) -> None:
        """Copy the newest reply as it was written."""
        if text := self.view.last_reply():
            copy(self.app, text, _("The last reply is in the clipboard."), _(EXPORT))

    def on_key(self, event: events.Key) -> None:
        """Typing belongs to the composer, wherever the focus was, unless it is a key of what has the focus."""
        if event.is_printable and event.character and self.focused is not self.composer:
            if event.key in self.active_bindings:
                return
            event.stop()
            self.composer.focus()
            self.composer.insert(event.character)

    def check_message_enabled(self, message: Message) -> bool:
        """Whether to take a message: a size that this screen has already is no news, though Textual tells it twice."""
        if isinstance(message, events.Resize) and message.size == self._fitted:
            return False
        return super().check_message_enabled(message)

    def on_resize(self, event: events.Resize) -> None:
        """Say so when there is too little room."""
        self._fitted = event.size
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        note = self.query_one("#too-small", Static)
        note.display = small
        note.update(_("too small: use 40x12"))
        # A style sheet has no third of the screen: a percentage is of the footer, which grows with what is written.
        self.composer.styles.max_height = max(3, event.size.height // 3)
