"""One reply from its request to its end: what the session yields is shown, and it can be stopped at any time.

A worker reads the session and posts what it yields; the handlers here change what is shown. No text is stored here: a
reply lives in the session and, drawn, in its turn view.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from edgechat.chat.context_window import moved_notice
from edgechat.chat.conversation import ReplyState
from edgechat.engine.protocol import Progress, TextDelta
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.i18n.error_messages import translate_error
from edgechat.runtime import logs
from edgechat.session.context_manager import WindowMoved
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved
from edgechat.tui.messages import SendEnded, SessionYielded, StopFailed
from edgechat.tui.widgets.status import Activity

if TYPE_CHECKING:
    from edgechat.tui.chat.context_notices import ContextNotices
    from edgechat.tui.chat.draft_controller import DraftController
    from edgechat.tui.chat.draft_length import DraftLength
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.model_loader import ModelLoader
    from edgechat.tui.chat.model_switch import ModelSwitch
    from edgechat.tui.chat.status_reporter import StatusReporter
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.conversation import ConversationView

SPEED_EVERY = 0.5
"""Seconds between two guesses of the speed while a reply is written."""


class ReplyController:
    """Follows the reply that is being written.

    Attributes:
        sending: Whether a reply was requested and has not ended yet.
    """

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        composer: Composer,
        view: ConversationView,
        status: StatusReporter,
        context: ContextNotices,
        drafts: DraftController,
        length: DraftLength,
        loader: ModelLoader,
        switch: ModelSwitch,
    ) -> None:
        """Wait for the first reply.

        Args:
            session: Writes the replies.
            host: Runs the worker that reads them, and routes its messages back here.
            composer: Sends nothing while a reply is written, and takes back what could not be sent.
            view: Shows the reply.
            status: Shows how far it has come.
            context: Is asked about a chat that no longer fits.
            drafts: Lets go of a message once it is in the history.
            length: Measures the next message anew, as the chat has grown.
            loader: Loads the model if there is none.
            switch: Whether it is loading another one already.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._view = view
        self._status = status
        self._context = context
        self._drafts = drafts
        self._length = length
        self._loader = loader
        self._switch = switch
        self.sending = False
        self._saved = False
        self._stop_requested = False
        self._new_chat_after = False
        self._estimate = SpeedEstimate(status)

    def start(self, events: AsyncGenerator[SessionEvent, None], text: str = "") -> None:
        """Follow a reply to its end; nothing else may be running.

        Args:
            events: What the session yields.
            text: The message, to be given back if it cannot be saved.
        """
        self._composer.accepting = False
        self.sending, self._saved, self._stop_requested = True, False, False
        self._estimate = SpeedEstimate(self._status, self._session.context_used)
        self._composer.edge.hint(_("Esc stops the reply"))
        if self._session.info is None and not self._switch.active:
            self._loader.start()
            self._status.show(Activity.LOADING)
        else:
            self._status.show(Activity.READING)
        self._host.run_worker(self._read(events, text), name="send", group="send")

    def explain_refusal(self) -> None:
        """Say why a message stays in the composer."""
        words, short = _("a reply is being written; Esc stops it"), _("Esc stops the reply")
        self._composer.edge.hint(words, short=short, urgent=True)

    async def _read(self, events: AsyncGenerator[SessionEvent, None], text: str) -> None:
        failure: EdgechatError | None = None
        try:
            # Closed on every way out: leaving the generator to the collector would leave the reply running.
            async with aclosing(events):
                async for event in events:
                    self._host.post_message(SessionYielded(event))
        except EdgechatError as error:
            failure = error
        except Exception as error:  # whoever waits for the reply has to see its end
            failure = logs.fault(error, "a reply")
        self._host.post_message(SendEnded(text, failure))

    async def show(self, event: SessionEvent) -> None:
        """Show what the session has yielded."""
        match event:
            case TurnSaved(turn, notices):
                self._saved = True
                await self._view.begin_turn(turn, notices, path=self._session.conversation.turns)
                if self._stop_requested:  # before there was anything to stop
                    self.stop()
                await self._drafts.message_stored()
            case Progress() as progress:
                if progress.phase == "prefill":
                    self._estimate.prompt = self._prompt_tokens(progress.total)
                self._status.show_progress(progress)
            case WindowMoved(turns, summary):
                if self._view.live is not None:
                    await self._view.live.tell(moved_notice(len(turns), summary))
                self._status.show(Activity.READING)
            case TextDelta(text):
                self._view.write(text)
                self._estimate.add_fragment()
            case TurnClosed(turn, finished):
                if self._view.live is not None:
                    await self._view.live.close(turn.reply)
                    await self._view.live.tell_facts(turn)
                    await self._context.warn(self._view.live)
                stopped = turn.reply is not None and turn.reply.state is ReplyState.STOPPED
                self._status.show(Activity.STOPPED if stopped else Activity.READY, finished=finished)

    async def finish(self, message: SendEnded) -> None:
        """Let the next message be sent, whether this one was answered or failed."""
        if message.error is not None:
            await self._fail(message.text, message.error)
        self.sending = False
        await self._view.end_turn()
        await self._view.tell(self._session.conversation.turns)
        self._composer.accepting = True
        self._composer.edge.hint("")
        self._length.update()
        if self._new_chat_after:
            self._new_chat_after = False
            await self._start_new_chat()

    async def _fail(self, text: str, error: EdgechatError) -> None:
        self._status.show(Activity.ERROR, translate_error(error.title))
        shown = self._context.explain(error)
        # If the model was still being loaded, the chat has the message already; it is to be sent again all the same.
        if not self._saved and self._composer.take_back():
            pass
        elif (not self._saved or shown is not error) and text:
            self._composer.restore(text)
        if not self._saved:
            await self._view.show_error(shown)
        elif self._view.live is not None:
            await self._view.live.close(None, shown)

    def _prompt_tokens(self, computed: int) -> int:
        """Tokens of the prompt: those being computed come on top of what the model has, unless they are all of it."""
        cached = self._session.context_used
        return computed if computed >= cached else cached + computed

    # Stopping

    def stop(self) -> None:
        """Stop the reply; without one, stop loading the model."""
        self._stop_requested = self.sending
        self._status.show(Activity.STOPPING)
        self._host.run_worker(self._stop(), name="stop")

    async def _stop(self) -> None:
        try:
            await self._session.stop()
        except EdgechatError as error:
            self._host.post_message(StopFailed(error))

    def show_stop_failure(self, message: StopFailed) -> None:
        """Say why the reply cannot be stopped."""
        self._status.show(Activity.ERROR, translate_error(message.error.title))

    async def new_chat(self) -> None:
        """Start a new chat; a reply that is being written is stopped first and stays in the old one."""
        if self.sending:
            self._new_chat_after = True
            self.stop()
        else:
            await self._start_new_chat()

    async def _start_new_chat(self) -> None:
        self._session.new()
        self._context.reset()
        await self._host.redraw()


class SpeedEstimate:
    """Guesses speed and tokens from the fragments of a reply; the engine's own measures replace it at the end.

    Attributes:
        prompt: Tokens of the prompt.
    """

    def __init__(self, status: StatusReporter, prompt: int = 0) -> None:
        """Start a reply.

        Args:
            status: Shows the guess.
            prompt: Tokens in use before the reply.
        """
        self._status = status
        self.prompt = prompt
        self._fragments = 0
        self._first = self._last = 0.0

    def add_fragment(self) -> None:
        """Count a fragment, which is about a token."""
        now = time.monotonic()
        self._fragments += 1
        if self._fragments == 1:
            self._first = self._last = now
            self._status.show(Activity.WRITING)
        elif now - self._last >= SPEED_EVERY:
            self._last = now
            speed = (self._fragments - 1) / (now - self._first)
            self._status.show_estimate(self.prompt + self._fragments, speed)
