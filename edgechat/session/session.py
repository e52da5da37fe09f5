"""One conversation being held: engine, history and window brought together.

The session owns the order of things: the user's turn is saved before anything runs, the reply is journalled while it
streams, and every way a reply can end closes it in the store. A screen, `ask` and a server draw what it yields and
keep no state of their own about the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

from edgechat.chat.context_window import Policy
from edgechat.chat.conversation import ChatSettings, Conversation, ReplyState, Turn
from edgechat.chat.sanitize import storable
from edgechat.engine.protocol import Engine, ModelInfo, ProgressCallback, Sampling
from edgechat.errors import EngineError, StorageError
from edgechat.history.rows import title_of
from edgechat.history.store import HistoryStore
from edgechat.i18n.catalog import ngettext
from edgechat.runtime.logs import log
from edgechat.session.context_manager import WindowKeeper
from edgechat.session.reply_runner import AnsweringChat, SessionEvent, TurnClosed, TurnSaved, to_the_end

__all__ = ["Session", "SessionEvent", "TurnClosed", "TurnSaved"]

CLOSE_SECONDS = 3.0
"""How long closing waits for a running reply to end by itself."""


class Session(AnsweringChat):
    """Holds one conversation at a time on one engine.

    Attributes:
        sampling, max_tokens: Used for the next reply; may be set between replies.
        window: What is sent of a chat, and by which policy.
        model_uri: The model in use, as it was asked for; None is the default one.
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
        engine_of: Callable[[str | None], Engine] | None = None,
        model_uri: str | None = None,
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
            engine_of: Makes the engine of another model, or of the default one (None); without it, there is no other.
            model_uri: Which model `engine` is for.
        """
        window = WindowKeeper(engine, context_policy)
        super().__init__(engine, store, conversation, system, sampling or Sampling(), max_tokens, window)
        self._engine_of = engine_of
        self.model_uri = model_uri
        self._switching: asyncio.Task[object] | None = None

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
        await self._settled()
        async with aclosing(self._send(text, self._conversation.turns)) as events:
            async for event in events:
                yield event

    async def edit(self, turn_id: int, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Say something else in the place of an earlier message: a sibling of its turn, answered like a new message.

        The old branch stays, and `step` goes back to it. Yields and raises as `send`, and StorageError if the turn is
        not on the path that is shown.
        """
        await self._settled()
        before = self._conversation.turns[: self._position(turn_id)]
        async with aclosing(self._send(text, before)) as events:
            async for event in events:
                yield event

    async def regenerate(self) -> AsyncGenerator[SessionEvent, None]:
        """Answer the last message once more; the earlier replies stay its siblings. Yields and raises as `send`."""
        await self._settled()
        self._refuse_while_busy()
        turn = self._last_turn()
        self._begin()
        async with aclosing(self._hold(turn, replace(turn, replies=(), active=-1))) as events:
            async for event in events:
                yield event

    async def resume(self) -> AsyncGenerator[SessionEvent, None]:
        """Go on with the last reply, which was stopped, cut or interrupted; it stays one reply.

        Yields and raises as `send`; TextDelta holds what is new.

        Raises:
            EngineError: The last reply ended by itself, or has no text to go on from.
        """
        await self._settled()
        self._refuse_while_busy()
        turn = self._last_turn()
        reply = turn.reply
        if reply is None or not reply.text or reply.state in (ReplyState.COMPLETE, ReplyState.STREAMING):
            raise EngineError(
                "There is nothing to go on with",
                "The last reply ended by itself, or has no text yet.",
                "Ask for more in a message, or for another reply.",
            )
        self._begin()
        async with aclosing(self._hold(turn, turn, reply)) as events:
            async for event in events:
                yield event

    def check_switch(self, uri: str | None) -> None:
        """Refuse another model where `switch` would, before anything is looked at or let go.

        Raises:
            ConfigError: The device decides which model is used.
            EngineError: A reply is running, or there is no other model.
        """
        self._refuse_while_busy()
        if uri != self.model_uri:
            self._refuse_locked("model_uri")
        if self._engine_of is None:
            raise EngineError("There is no other model", "This chat is held with the one engine it was begun with.")

    async def switch(self, uri: str | None, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Go on with another model; the chat stays as it is.

        The model before is ended first, for both may not fit into memory. Where the other one cannot be loaded, or the
        caller is cancelled, the one before is in its place again, to be loaded with `start` or the next message.

        Args:
            uri: The model: a name, a folder or a URI; None is the default one.
            on_progress: Called in the event loop as loading goes on.

        Raises:
            ConfigError: The device decides which model is used.
            EngineError: A reply is running, or loading failed.
            ModelError: It cannot be used.
        """
        self.check_switch(uri)
        assert self._engine_of is not None
        self._switching = asyncio.current_task()
        self._begin()  # nothing is sent meanwhile
        self._cool()
        before = self.model_uri
        try:
            await self._engine.aclose()
            self._use(self._engine_of(uri), uri)
            info = await self._engine.start(on_progress)
        except BaseException as error:
            log.warning("switching to another model ended with %s", type(error).__name__)
            try:
                await to_the_end(self._engine.aclose())
            finally:  # cancelled once more or not, there is an engine afterwards
                self._use(self._engine_of(before), before)
            raise
        finally:
            self._switching = None
            self._idle.set()
        self.warm()
        return info

    def _refuse_while_busy(self) -> None:
        if self._switching is not None:
            raise EngineError("Another model is being loaded", "", "Wait for it, or go back with Esc.")
        super()._refuse_while_busy()

    def _use(self, engine: Engine, uri: str | None) -> None:
        self._engine, self.model_uri = engine, uri
        self.window.use(engine)

    async def _send(self, text: str, before: tuple[Turn, ...]) -> AsyncGenerator[SessionEvent, None]:
        """Save a message after those turns and answer it."""
        self._refuse_while_busy()
        message, replaced = storable(text)
        if not message.strip():
            raise EngineError("The message is empty", "", "Write something to be answered.")
        words = ngettext(
            "{n} character that is not text was replaced by {sign}.",
            "{n} characters that are not text were replaced by {sign}.",
            replaced,
        ).format(n=replaced, sign="\ufffd")
        notices = (words,) if replaced else ()
        self._begin()
        self._cool()
        try:
            if before:
                draft = replace(self._conversation, turns=(*before, Turn(0, None, message, 0.0)))
                await self.window.check(draft, self._max_tokens)
            turn = await to_the_end(self._save(message, len(before)))
        except BaseException:
            self._idle.set()
            raise
        async with aclosing(self._hold(turn, turn, notices=notices)) as events:
            async for event in events:
                yield event

    def _last_turn(self) -> Turn:
        if not self._conversation.turns:
            raise EngineError("The chat is empty", "There is no message to answer.", "Write one.")
        return self._conversation.turns[-1]

    def _position(self, turn_id: int) -> int:
        for position, turn in enumerate(self._conversation.turns):
            if turn.id == turn_id:
                return position
        raise StorageError("No such message", "It is not in the branch that is shown.", "Go to its branch first.")

    async def _save(self, message: str, after: int) -> Turn:
        """Keep a message that follows the first `after` turns of the path that is shown."""
        conversation = self._conversation
        if not conversation.id:
            conversation = await asyncio.to_thread(self._create, conversation)
            self._conversation = conversation
        parent = conversation.turns[after - 1].id if after else None
        turn = await asyncio.to_thread(self._store.add_turn, conversation.id, parent, message)
        conversation = self._conversation  # what was rated, pinned or renamed meanwhile stays so
        title = conversation.title or title_of(message)
        self._conversation = replace(conversation, title=title, turns=(*conversation.turns[:after], turn))
        return turn

    def _create(self, asked: Conversation) -> Conversation:
        """Begin a chat in the store."""
        info = self._engine.info
        conversation = self._store.create_conversation(system=asked.system, model=info.name if info else "")
        if asked.settings == ChatSettings():
            return conversation
        self._store.chats.configure(conversation.id, asked.system, asked.settings)
        return replace(conversation, settings=asked.settings)

    async def stop(self) -> None:
        """Stop the running reply and keep its text; or give up loading the model, or going on with another one."""
        if self._switching is not None:
            self._switching.cancel()
        elif self.busy:
            self._stopping.set()
            await self._engine.stop()
        elif self._engine.info is None:
            await self._engine.stop()

    async def aclose(self) -> None:
        """Stop, end the engine, close the store. Safe to call twice."""
        self._leaving = True
        if self._switching is not None:
            self._switching.cancel()
            await self._wait_until_idle()
        if self.busy:
            await self.stop()
            await self._wait_until_idle()
        self._cool()
        await self._engine.aclose()
        await self._wait_until_idle()  # a reply that did not stop by itself has no engine any more
        if self._closing is not None:
            await asyncio.wait({self._closing})
        await asyncio.to_thread(self._store.close)

    async def _wait_until_idle(self) -> None:
        with suppress(TimeoutError):  # whoever reads the reply is not reading; its text is in the journal
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
