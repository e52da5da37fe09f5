"""The writing of one reply: from a turn that is saved to a reply that is closed in the store.

What is answered is decided elsewhere; here the reply is begun, journalled while it streams, and closed on every way it
can end, whoever stopped waiting for it. Nothing here takes a message or chooses a chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from edgechat.chat.conversation import ReplyState, Turn
from edgechat.engine.protocol import Finished, StoppedError, TextDelta, Timings, Usage
from edgechat.errors import EdgechatError, StorageError
from edgechat.history.store import HistoryStore
from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import dump
from edgechat.models import speed_history
from edgechat.runtime.logs import log
from edgechat.session.activity import Activity
from edgechat.session.cancellation import run_to_completion
from edgechat.session.context_manager import ContextManager, WindowMoved
from edgechat.session.current_chat import CurrentChat
from edgechat.session.current_model import CurrentModel
from edgechat.session.events import SessionEvent, TurnClosed, TurnSaved
from edgechat.session.prompt_builder import PromptBuilder
from edgechat.session.reply_journal import ReplyJournal
from edgechat.session.turn_preparer import ReplyTask

_STATES = {"stop": ReplyState.COMPLETE, "length": ReplyState.LENGTH, "cancelled": ReplyState.STOPPED}

_NOT_STARTED = Finished("cancelled", Usage(0, 0, 0), Timings(0.0, 0.0, 0.0))
"""The end of a reply that was stopped before the engine said anything of it."""


@dataclass(slots=True)
class _Run:
    """One reply while it is written.

    Attributes:
        task: What is answered.
        started: When, by the event loop's clock.
        journal: Its way to the store; None until the store has begun it.
        ttft: Seconds from the start to the first text; None before it.
    """

    task: ReplyTask
    started: float
    journal: ReplyJournal | None = None
    ttft: float | None = None


class ReplyRunner:
    """Writes replies to turns of the open chat, one at a time.

    Invariant: a reply that the store has begun is closed there when `run` is over, also where it was cancelled or its
    reader left; only a store that fails can leave one open.

    Attributes:
        leaving: Set when the program ends: an engine that fails a reply then was ended by the user's wish.
    """

    def __init__(
        self,
        model: CurrentModel,
        store: HistoryStore,
        chat: CurrentChat,
        context: ContextManager,
        prompts: PromptBuilder,
        activity: Activity,
    ) -> None:
        self._model = model
        self._store = store
        self._chat = chat
        self._context = context
        self._prompts = prompts
        self._activity = activity
        self._closing: asyncio.Task[Turn] | None = None
        self.leaving = False

    async def run(self, prepare: Callable[[], Awaitable[ReplyTask]]) -> AsyncGenerator[SessionEvent, None]:
        """Prepare a turn and answer it.

        If the model is still loading, the turn is saved at once and the reply begins when it is loaded. Closing the
        iterator early or cancelling the task stops the reply and keeps its text.

        Args:
            prepare: Saves the turn; called when no other chat is being opened and nothing else can begin any more.

        Yields:
            TurnSaved; Progress and WindowMoved; TextDelta; TurnClosed at last.

        Raises:
            EngineError: A reply is running already; or this one failed, and the store has its text so far and why.
            ModelError: The model could not be loaded; the turn is saved.
            ContextFullError: Something would have to leave the context, and the policy is to ask.
            StorageError: The reply could not be saved.
        """
        await self._chat.settled()
        self._activity.begin("reply")
        try:
            task = await prepare()
            yield TurnSaved(_as_saved(task), (*task.notices, *self._model_notice()))
            run = _Run(task, asyncio.get_running_loop().time())
            finished = _NOT_STARTED
            try:
                if await self._open(run):
                    fitting = self._context.fit(
                        self._prompts.to_answer(task.resumed),
                        self._prompts.chat_max_tokens,
                        self._activity.stop_requested,
                    )
                    async with aclosing(fitting) as moves:
                        async for move in moves:
                            if isinstance(move, WindowMoved):
                                await self._chat.move_window(task.turn.id, move.window)
                            yield move
                if not self._activity.stop_requested():
                    # Each generator between the engine and the reader costs time for every token, so there is one.
                    async with aclosing(self._model.engine.stream(self._prompts.request(task.resumed))) as events:
                        async for event in events:
                            if self._activity.stop_requested():
                                await self._model.engine.stop()  # again: the first may have come before the reply
                            if isinstance(event, Finished):
                                finished = event
                                break
                            if isinstance(event, TextDelta):
                                self._add(run, event.text)
                            yield event
            except StoppedError:
                pass  # what has come stays
            except (Exception, asyncio.CancelledError, GeneratorExit) as error:
                await self._close_after(run, error)
                raise
            yield TurnClosed(await self._finish(run, finished), finished)
        finally:
            self._chat.drop_reply()
            self._activity.end()

    async def stop(self) -> None:
        """Stop the reply being written and keep its text."""
        self._activity.request_stop()
        await self._model.engine.stop()

    async def wait_until_closed(self) -> None:
        """Wait until the store has the end of the last reply."""
        if self._closing is not None:
            await asyncio.wait({self._closing})

    def _model_notice(self) -> tuple[str, ...]:
        """Tells, once a chat, that another model goes on with it."""
        if not (before := self._chat.adopt_model(self._model.name)):
            return ()
        words = _("This chat was held with {before}; {now} goes on with it.")
        return (words.format(before=before, now=self._model.name),)

    async def _open(self, run: _Run) -> bool:
        """Wait for the model and begin the reply in the store; False if the user stopped it before that."""
        failure: EdgechatError | None = None
        try:
            await self._wait_for_model()
        except EdgechatError as error:
            failure = error  # raised below, where the reply that it ended can be marked
        # To completion: a reply that the store has and nobody knows of would be written for ever.
        await run_to_completion(self._begin(run))
        if failure is not None:
            raise failure
        return not self._activity.stop_requested()

    async def _wait_for_model(self) -> None:
        """Wait until the model is loaded or the user stops."""
        start = asyncio.ensure_future(self._model.engine.start())
        stop = asyncio.ensure_future(self._activity.wait_for_stop())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start
        finally:
            start.cancel()  # only this wait for it: the load itself goes on
            stop.cancel()

    async def _begin(self, run: _Run) -> None:
        turn, resumed = run.task.turn, run.task.resumed
        if resumed is not None:
            reply = await asyncio.to_thread(self._store.resume_reply, resumed.id)
        else:
            reply = await asyncio.to_thread(self._store.add_reply, turn.id, self._model.name)
        journal = ReplyJournal(self._store, reply)
        self._chat.begin_reply(turn.id, reply, lambda: journal.text)
        run.journal = journal

    def _add(self, run: _Run, text: str) -> None:
        assert run.journal is not None
        if run.ttft is None:
            run.ttft = asyncio.get_running_loop().time() - run.started
        run.journal.add(text)

    async def _finish(self, run: _Run, finished: Finished) -> Turn:
        """Close a reply that did not fail."""
        assert run.journal is not None
        measured = bool(finished.usage.prompt)
        turn = await self._close(run.journal, _STATES[finished.reason], finished if measured else None, run.ttft)
        if measured:
            self._context.note(self._chat.committed, finished)
        if run.journal.failure is not None:
            raise run.journal.failure
        log.info("a reply ended: %s, %d tokens", finished.reason, finished.usage.completion)
        if name := self._model.name:
            await asyncio.to_thread(speed_history.record, name, finished.usage.completion, finished.tokens_per_second)
        return turn

    async def _close_after(self, run: _Run, error: BaseException) -> None:
        """Close a reply that an error or its reader's leaving ended; the store may not even have begun it."""
        state, words = ReplyState.STOPPED, ""
        if isinstance(error, EdgechatError):
            log.warning("a reply failed: %s", type(error).__name__)
            if not self.leaving:
                state = ReplyState.FAILED
                words = dump(error.title, error.message)
        elif isinstance(error, Exception):  # a bug; its words may quote what was said
            state = ReplyState.FAILED
            words = dump("Something went wrong in edgechat itself", f"{type(error).__name__}.")
        if run.journal is not None:
            await self._close(run.journal, state, None, run.ttft, words)

    async def _close(
        self, journal: ReplyJournal, state: ReplyState, finished: Finished | None, ttft: float | None, error: str = ""
    ) -> Turn:
        """Close the reply in the store and in its turn, even if whoever waits for it is cancelled once more."""
        closing = self._write_end(journal, state, finished, ttft, error)
        self._closing = asyncio.create_task(closing, name="close")
        return await run_to_completion(self._closing)

    async def _write_end(
        self, journal: ReplyJournal, state: ReplyState, finished: Finished | None, ttft: float | None, error: str
    ) -> Turn:
        try:
            reply = await journal.close(state, finished, ttft, error)
        except StorageError:  # what was written is still true here, and is sent with the next message
            live = self._chat.live_reply
            assert live is not None
            self._chat.end_reply(replace(live, text=journal.text, state=ReplyState.INTERRUPTED))
            raise
        return self._chat.end_reply(reply)


def _as_saved(task: ReplyTask) -> Turn:
    """The turn as it is shown while its reply is awaited."""
    return task.turn if task.resumed is not None else replace(task.turn, replies=(), active=-1)
