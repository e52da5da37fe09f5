"""The writing of one reply: from a turn that is saved to a reply that is closed in the store.

The session decides what is answered; here the reply is begun, journalled while it streams, and closed on every way it
can end, whoever stopped waiting for it. Nothing here takes a message or chooses a chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from edgechat.chat.conversation import Conversation, Reply, ReplyState, Turn
from edgechat.engine.protocol import Finished, Progress, StoppedError, TextDelta, Timings, Usage
from edgechat.errors import EdgechatError, StorageError
from edgechat.i18n.catalog import _, source_of
from edgechat.models import speed_history
from edgechat.runtime.logs import log
from edgechat.session.context_manager import WindowMoved
from edgechat.session.prompt_builder import PromptedChat
from edgechat.session.reply_journal import Journal

_Result = TypeVar("_Result")

_STATES = {"stop": ReplyState.COMPLETE, "length": ReplyState.LENGTH, "cancelled": ReplyState.STOPPED}


@dataclass(frozen=True, slots=True)
class TurnSaved:
    """What is to be answered is in the store; always the first event of a reply.

    Attributes:
        turn: The turn, without a reply yet; in `Session.resume` with the one that is gone on with.
        notices: Words for the user about the message, such as characters that had to be replaced.
    """

    turn: Turn
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The reply is closed in the store; the last event of a reply that did not raise.

    Attributes:
        turn: The turn with its reply, `turn.reply.state` being COMPLETE, LENGTH or STOPPED.
        finished: Usage and timings.
    """

    turn: Turn
    finished: Finished


SessionEvent = TurnSaved | Progress | WindowMoved | TextDelta | TurnClosed


class AnsweringChat(PromptedChat):
    """The chat that is held, and the reply that is being written in it."""

    _journal: Journal | None = None
    _live: Turn | None = None
    _leaving = False
    _closing: asyncio.Task[Turn] | None = None

    @property
    def conversation(self) -> Conversation:
        """The conversation as it is now, the reply being streamed included. `id` is 0 until the first message."""
        if self._journal is None or self._live is None or self._live.reply is None:
            return self._conversation
        reply = replace(self._live.reply, text="".join(self._journal.parts))
        return self._with(replace(self._live, replies=_with_reply(self._live, reply)))

    async def _hold(
        self, turn: Turn, shown: Turn, begun: Reply | None = None, notices: tuple[str, ...] = ()
    ) -> AsyncGenerator[SessionEvent, None]:
        """Answer a turn that is saved, after `_begin`."""
        try:
            yield TurnSaved(shown, (*notices, *self._other_model()))
            answer = self._answer(turn, begun)
            try:
                async for event in answer:
                    yield event
            finally:
                await answer.aclose()
        finally:
            self._journal = self._live = None
            self._idle.set()

    def _begin(self) -> None:
        """From here on a stop counts, and nothing else begins."""
        self._stopping.clear()
        self._idle.clear()

    def _other_model(self) -> tuple[str, ...]:
        """Tells, once a chat, that another model goes on with it."""
        info, before = self._engine.info, self._conversation.model
        if info is None or not before or before == info.name:
            return ()
        self._conversation = replace(self._conversation, model=info.name)
        words = _("This chat was held with {before}; {now} goes on with it.")
        return (words.format(before=before, now=info.name),)

    async def _answer(self, turn: Turn, begun: Reply | None) -> AsyncGenerator[SessionEvent, None]:
        clock = asyncio.get_running_loop().time
        began = clock()
        ready, failure = False, None
        try:
            ready = await self._ready()
        except EdgechatError as error:
            failure = error  # told below, where the reply that it ended can be marked
        ttft: float | None = None
        finished = Finished("cancelled", Usage(0, 0, 0), Timings(0.0, 0.0, 0.0))
        try:
            # To the end: a reply that the store has and nobody knows of would be written for ever.
            journal = await to_the_end(self._open_reply(turn, begun))
            if failure is not None:
                raise failure
            if ready:
                fitting = self.window.fit(self._asked(begun), self._max_tokens, self._stopping.is_set)
                async with aclosing(fitting) as moves:
                    async for move in moves:
                        if isinstance(move, WindowMoved):
                            await self._keep_window(turn.id, move.window)
                        yield move
                ready = not self._stopping.is_set()
            if ready:
                async with aclosing(self._engine.stream(self._request(begun))) as events:
                    async for event in events:
                        if self._stopping.is_set():
                            await self._engine.stop()  # again: the first word may have come before the reply began
                        if isinstance(event, Finished):
                            finished = event
                            break
                        if isinstance(event, TextDelta):
                            ttft = ttft or clock() - began
                            journal.add(event.text)
                        yield event
        except StoppedError:  # what has come stays
            ready = False
        except EdgechatError as error:
            words = " ".join(part for part in (f"{source_of(error.title)}.", source_of(error.message)) if part)
            log.warning("a reply failed: %s", type(error).__name__)
            if self._leaving:  # it is the end of the engine that failed the reply, and the user's wish
                await self._close(ReplyState.STOPPED, None, ttft)
            else:
                await self._close(ReplyState.FAILED, None, ttft, words)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            await self._close(ReplyState.STOPPED, None, ttft)
            raise
        except Exception as error:  # not foreseen; its words may quote what was said
            words = f"Something went wrong in edgechat itself: {type(error).__name__}."
            await self._close(ReplyState.FAILED, None, ttft, words)
            raise
        measured = finished if ready and finished.usage.prompt else None
        closed = await self._close(_STATES[finished.reason], measured, ttft)
        assert closed is not None
        if finished.usage.prompt:
            self.window.note(self._conversation, finished)
        if journal.failure is not None:
            raise journal.failure
        log.info("a reply ended: %s, %d tokens", finished.reason, finished.usage.completion)
        if info := self._engine.info:
            await asyncio.to_thread(
                speed_history.record, info.name, finished.usage.completion, finished.tokens_per_second
            )
        yield TurnClosed(closed, finished)

    async def _open_reply(self, turn: Turn, begun: Reply | None) -> Journal:
        """Begin a reply in the store, or go on with that one."""
        turn = next(one for one in self._conversation.turns if one.id == turn.id)  # it may have been rated meanwhile
        if begun is not None:
            reply = await asyncio.to_thread(self._store.resume_reply, begun.id)
            self._live = replace(turn, replies=_with_reply(turn, reply))
            self._conversation = self._with(self._live)
        else:
            info = self._engine.info
            reply = await asyncio.to_thread(self._store.add_reply, turn.id, info.name if info else "")
            self._live = replace(turn, replies=(*turn.replies, reply), active=len(turn.replies))
        self._journal = Journal(self._store, reply)
        return self._journal

    async def _ready(self) -> bool:
        """Wait for the model; False if the user stopped before it was there."""
        start = asyncio.ensure_future(self._engine.start())
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start
            return not self._stopping.is_set()
        finally:
            start.cancel()  # only this wait for it: the load itself goes on
            stop.cancel()

    async def _close(
        self, state: ReplyState, finished: Finished | None, ttft: float | None, error: str = ""
    ) -> Turn | None:
        """Close the reply in the store, even if whoever waits for it is cancelled once more, and in its turn.

        Nothing happens where the store did not even take its beginning.
        """
        if self._journal is None:
            return None
        self._closing = asyncio.create_task(
            self._closed(self._journal.close(state, finished, ttft, error)), name="close"
        )
        return await to_the_end(self._closing)

    async def _closed(self, closing: Coroutine[None, None, Reply]) -> Turn:
        assert self._live is not None
        try:
            reply = await closing
        except StorageError:  # what was written is still true here, and is sent with the next message
            assert self._live.reply is not None
            text = "".join(self._journal.parts) if self._journal is not None else ""
            reply = replace(self._live.reply, text=text, state=ReplyState.INTERRUPTED)
            self._conversation = self._with(replace(self._live, replies=_with_reply(self._live, reply)))
            raise
        closed = replace(self._live, replies=_with_reply(self._live, reply))
        self._conversation = self._with(closed)
        return closed

    def _change_turns(self, change: Callable[[Turn], Turn]) -> None:
        super()._change_turns(change)
        if self._live is not None:
            self._live = change(self._live)

    def _with(self, turn: Turn) -> Conversation:
        turns = tuple(turn if old.id == turn.id else old for old in self._conversation.turns)
        return replace(self._conversation, turns=turns)


async def to_the_end(work: Coroutine[Any, Any, _Result] | asyncio.Task[_Result]) -> _Result:
    """Have some work done whole, also where whoever waits for it is cancelled meanwhile, however often.

    Raises:
        CancelledError: The caller was cancelled; the work is over by then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


def _with_reply(turn: Turn, reply: Reply) -> tuple[Reply, ...]:
    """The replies of a turn, that one in the place of the one that is shown."""
    return (*turn.replies[: turn.active], reply, *turn.replies[turn.active + 1 :])
