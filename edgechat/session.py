"""One conversation being held: engine, history and window brought together.

The session owns the order of things: the user's turn is saved before anything runs, the reply is journalled while it
streams, and every way a reply can end closes it in the store. A screen, `ask` and a server draw what it yields and
keep no state of their own about the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from edgechat.chat.conversation import Conversation, Reply, ReplyState, Turn
from edgechat.chat.text import storable
from edgechat.chat.window import Policy, fullness_words
from edgechat.engine.base import (
    Engine,
    Finished,
    ModelInfo,
    Progress,
    Prompt,
    Request,
    Sampling,
    TextDelta,
    Timings,
    Usage,
)
from edgechat.engine.fitting import WindowKeeper, WindowMoved
from edgechat.errors import EdgechatError, EngineError, StorageError
from edgechat.history.store import HistoryStore

JOURNAL_SECONDS = 0.25
"""Text waits no longer than this before it is in the store, so that a kill loses less than half a second of it."""

CLOSE_SECONDS = 3.0
"""How long closing waits for a running reply to end by itself."""

_STATES = {"stop": ReplyState.COMPLETE, "length": ReplyState.LENGTH, "cancelled": ReplyState.STOPPED}


@dataclass(frozen=True, slots=True)
class TurnSaved:
    """The user's message is in the store; always the first event of `Session.send`.

    Attributes:
        turn: The new turn, without a reply yet.
        notices: Words for the user about the message, such as characters that had to be replaced.
    """

    turn: Turn
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The reply is closed in the store; the last event of a `Session.send` that did not raise.

    Attributes:
        turn: The turn with its reply, `turn.reply.state` being COMPLETE, LENGTH or STOPPED.
        finished: Usage and timings.
    """

    turn: Turn
    finished: Finished


SessionEvent = TurnSaved | Progress | WindowMoved | TextDelta | TurnClosed


class _Journal:
    """Writes a streaming reply to the store, a quarter of a second at a time.

    A store that cannot take the text must not end the reply on the screen: the error is kept for the end.
    """

    def __init__(self, store: HistoryStore, reply_id: int) -> None:
        self._store = store
        self._reply_id = reply_id
        self._waiting: list[str] = []
        self._flusher: asyncio.Task[None] | None = None
        self.parts: list[str] = []
        self.failure: StorageError | None = None

    def add(self, text: str) -> None:
        self.parts.append(text)
        self._waiting.append(text)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_soon(), name="journal")

    async def _flush_soon(self) -> None:
        await asyncio.sleep(JOURNAL_SECONDS)
        while self._waiting and self.failure is None:
            text = "".join(self._waiting)
            self._waiting.clear()
            try:
                # In a thread: a slow disk may take its time to sync, the event loop may not.
                await asyncio.to_thread(self._store.append_text, self._reply_id, text)
            except StorageError as error:
                self.failure = error

    async def close(self, state: ReplyState, finished: Finished | None, ttft: float | None, error: str = "") -> Reply:
        """Write the whole reply and end it. The text itself is the caller's truth, so nothing need be flushed first."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait({self._flusher})  # a write under way must not land after the closing one
        usage = finished.usage if finished is not None else Usage(0, 0, 0)
        return await asyncio.to_thread(
            self._store.close_reply,
            self._reply_id,
            state,
            text="".join(self.parts),
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            ttft=ttft,
            seconds=finished.timings.decode if finished is not None else 0.0,
            error=error,
        )


class Session:
    """Holds one conversation at a time on one engine.

    Attributes:
        sampling, max_tokens: Used for the next reply; may be set between replies.
        window: What is sent of a chat, and by which policy.
    """

    def __init__(
        self,
        engine: Engine,
        store: HistoryStore,
        *,
        conversation: Conversation | None = None,
        system: str = "",
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        context_policy: Policy = "ask",
    ) -> None:
        """Nothing is started or stored yet.

        Args:
            engine: Writes the replies; the session ends it in `aclose`.
            store: Keeps them; the session closes it in `aclose`.
            conversation: A chat to go on with; None begins one at the first message.
            system: System message of chats begun here; a chat gone on with keeps its own.
            sampling: How replies are sampled.
            max_tokens: Upper bound of a reply; None is up to the end of the context.
            context_policy: What happens when a chat no longer fits into the context.
        """
        self._engine = engine
        self._store = store
        self._system = system
        self._conversation = conversation or Conversation(0, system=system)
        self.sampling = sampling or Sampling()
        self.max_tokens = max_tokens
        self.window = WindowKeeper(engine, context_policy)
        self._warming: asyncio.Task[None] | None = None
        self._journal: _Journal | None = None
        self._live: Turn | None = None
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def conversation(self) -> Conversation:
        """The conversation as it is now, the reply being streamed included. `id` is 0 until the first message."""
        if self._journal is None or self._live is None or self._live.reply is None:
            return self._conversation
        live = replace(self._live, replies=(replace(self._live.reply, text="".join(self._journal.parts)),), active=0)
        return self._with(live)

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None until it is loaded."""
        return self._engine.info

    @property
    def busy(self) -> bool:
        """Whether a reply is running."""
        return not self._idle.is_set()

    @property
    def context_used(self) -> int:
        """Tokens of the context in use after the last reply; 0 in a new chat."""
        for turn in reversed(self._conversation.turns):
            if turn.reply is not None and turn.reply.prompt_tokens:
                return turn.reply.prompt_tokens + turn.reply.completion_tokens
        return 0

    async def start(self, on_progress: Callable[[Progress], None] | None = None) -> ModelInfo:
        """Load the model; see `Engine.start`."""
        info = await self._engine.start(on_progress)
        self.warm()
        return info

    def warm(self) -> None:
        """Compute the beginning of the next prompt in the background, while the user writes.

        Called for whatever chat or branch comes into view. A message that is sent meanwhile does not wait for it.
        """
        self._cool()
        seeded = self.sampling.seed is not None and self.sampling.temperature > 0  # computed from nothing each time
        if self._engine.info is not None and not self.busy and not seeded:
            self._warming = asyncio.create_task(self._prefill(), name="warm")

    async def _prefill(self) -> None:
        turns = tuple(turn for turn in self._conversation.turns if turn.reply is not None and turn.reply.text)
        with suppress(EdgechatError):  # it will be told to whoever waits for a reply
            await self._engine.prefill(self.window.messages(replace(self._conversation, turns=turns)))

    def _cool(self) -> None:
        if self._warming is not None:
            self._warming.cancel()

    @property
    def context_words(self) -> str:
        """What the user is to know of how full the context is, or is about to be; "" for nothing."""
        info = self._engine.info
        if info is None:
            return ""
        return fullness_words(self.context_used, info.context, self.window.policy, info.cliff)

    async def prompt_parts(self, draft: str = "") -> Prompt:
        """The prompt as the model gets it, in its parts.

        Args:
            draft: The next message; without one it is the prompt of the last reply.

        Raises:
            EngineError: The model is not there, or cannot be sent this.
        """
        turns = self._conversation.turns
        if draft or not turns:
            asked = self._with_draft(draft)
            return await self._engine.prompt(self.window.messages(asked))
        last = turns[-1]
        asked = replace(self._conversation, turns=(*turns[:-1], replace(last, replies=(), active=-1)))
        prompt = await self._engine.prompt(self.window.messages(asked))
        if last.reply is None or last.reply.prompt_tokens != prompt.tokens:
            return prompt
        return Prompt(prompt.parts, last.reply.cached_tokens)  # by now, all of it would be

    def _with_draft(self, text: str) -> Conversation:
        """The conversation with a message that is not sent yet."""
        return replace(self._conversation, turns=(*self._conversation.turns, Turn(0, None, text, 0.0)))

    async def send(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Save the user's message, answer it, and yield TurnSaved, Progress and TextDelta, TurnClosed.

        If the model is still loading, the message is saved at once and the reply begins when it is loaded. Closing
        the iterator early or cancelling the task stops the reply and keeps its text.

        Raises:
            EngineError: The reply failed; the text so far is kept in the store and the reply is marked.
            ModelError: The model could not be loaded; the message is kept.
            ContextFullError: Something would have to go; the message was not taken, unless the model was still loading.
            StorageError: The message could not be saved, and nothing was sent to the model; or the reply could not.
        """
        if self.busy:
            raise EngineError("A reply is being written", "One message is answered at a time.", "Stop it, or wait.")
        message, replaced = storable(text)
        if not message.strip():
            raise EngineError("The message is empty", "", "Write something to be answered.")
        notices = (f"{replaced} characters that are not text were replaced by \ufffd.",) if replaced else ()
        self._stopping.clear()
        self._idle.clear()
        self._cool()
        try:
            if self._conversation.turns:
                await self.window.check(self._with_draft(message), self.max_tokens)
            turn = await asyncio.to_thread(self._save, message)
            yield TurnSaved(turn, notices)
            answer = self._answer(turn)
            try:
                async for event in answer:
                    yield event
            finally:
                await answer.aclose()
        finally:
            self._journal = self._live = None
            self._idle.set()

    def _save(self, message: str) -> Turn:
        conversation = self._conversation
        if not conversation.id:
            info = self._engine.info
            conversation = self._store.create_conversation(system=conversation.system, model=info.name if info else "")
        parent = conversation.turns[-1].id if conversation.turns else None
        turn = self._store.add_turn(conversation.id, parent, message)
        self._conversation = replace(conversation, turns=(*conversation.turns, turn))
        return turn

    async def _answer(self, turn: Turn) -> AsyncGenerator[SessionEvent, None]:
        clock = asyncio.get_running_loop().time
        began = clock()
        ready, failure = False, None
        try:
            ready = await self._ready()
        except EdgechatError as error:
            failure = error  # told below, where the reply that it ended can be marked
        info = self._engine.info
        reply = await asyncio.to_thread(self._store.add_reply, turn.id, info.name if info else "")
        journal = self._journal = _Journal(self._store, reply.id)
        self._live = replace(turn, replies=(reply,), active=0)
        ttft: float | None = None
        finished = Finished("cancelled", Usage(0, 0, 0), Timings(0.0, 0.0, 0.0))
        try:
            if failure is not None:
                raise failure
            if ready:
                fitting = self.window.fit(self._conversation, self.max_tokens, self._stopping.is_set)
                async with aclosing(fitting) as moves:
                    async for move in moves:
                        yield move
                ready = not self._stopping.is_set()
            if ready:
                request = Request(self.window.messages(self._conversation), self.sampling, self.max_tokens)
                async with aclosing(self._engine.stream(request)) as events:
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
        except EdgechatError as error:
            words = " ".join(part for part in (f"{error.title}.", error.message) if part)
            self._close(turn, await journal.close(ReplyState.FAILED, None, ttft, words))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._close(turn, await journal.close(ReplyState.STOPPED, None, ttft))
            raise
        closed = self._close(turn, await journal.close(_STATES[finished.reason], finished, ttft))
        if finished.usage.prompt:
            self.window.note(self._conversation, finished)
        if journal.failure is not None:
            raise journal.failure
        yield TurnClosed(closed, finished)

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

    def _close(self, turn: Turn, reply: Reply) -> Turn:
        closed = replace(turn, replies=(reply,), active=0)
        self._conversation = self._with(closed)
        return closed

    def _with(self, turn: Turn) -> Conversation:
        turns = tuple(turn if old.id == turn.id else old for old in self._conversation.turns)
        return replace(self._conversation, turns=turns)

    async def stop(self) -> None:
        """Stop the running reply and keep its text."""
        if self.busy:
            self._stopping.set()
            await self._engine.stop()

    def new(self) -> None:
        """Begin another chat with the same settings. The old one stays in the store.

        Raises:
            EngineError: A reply is running.
        """
        if self.busy:
            raise EngineError("A reply is being written", "", "Stop it first.")
        self._conversation = Conversation(0, system=self._system)
        self.warm()

    async def aclose(self) -> None:
        """Stop, close the store, end the engine. Safe to call twice."""
        if self.busy:
            await self.stop()
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                pass  # whoever reads the reply is not reading; its text is in the journal
        self._cool()
        await self._engine.aclose()
        await asyncio.to_thread(self._store.close)
