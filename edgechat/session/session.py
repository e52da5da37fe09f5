"""One conversation with a model, for every interface: engine, history and context brought together.

The session owns the order of things: the user's turn is saved before anything runs, the reply is journalled while it
streams, and every way a reply can end closes it in the store. A screen, `ask` and a server draw what it yields and
keep no state of their own about the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

from edgechat.chat.context_window import Policy
from edgechat.chat.conversation import Conversation
from edgechat.engine.protocol import Engine, ModelInfo, ProgressCallback, Sampling
from edgechat.history.store import HistoryStore
from edgechat.session.activity import Activity
from edgechat.session.chat_library import ChatLibrary
from edgechat.session.context_manager import ContextManager
from edgechat.session.current_chat import CurrentChat
from edgechat.session.current_model import CurrentModel
from edgechat.session.events import SessionEvent, TurnClosed, TurnSaved
from edgechat.session.model_switcher import ModelSwitcher
from edgechat.session.prompt_builder import PromptBuilder
from edgechat.session.prompt_warmer import PromptWarmer
from edgechat.session.reply_runner import ReplyRunner
from edgechat.session.setting_locks import SettingLocks
from edgechat.session.turn_preparer import TurnPreparer

__all__ = ["Session", "SessionEvent", "TurnClosed", "TurnSaved"]

CLOSE_SECONDS = 3.0
"""How long closing waits for a running reply to end by itself."""


class Session:
    """Talks in one chat at a time, with one model at a time.

    Attributes:
        library: The chats of the history: list, name, sort, delete, undo.
        chat: The chat that is open: its branches, settings and feedback.
        prompts: What the model is sent of it, and how replies are sampled.
        context: What happens when it no longer fits into the context.
        models: Goes on with another model.
        replies: Writes the replies.
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
            store: Has the chats; the session closes it in `aclose`.
            conversation: The chat to open; None begins one at the first message.
            system: System message of new chats; `conversation` keeps its own.
            sampling: How replies are sampled.
            max_tokens: Upper bound of a reply; None is up to the end of the context.
            context_policy: What happens when a chat no longer fits into the context.
            engine_of: Makes the engine of another model, or of the default one (None); without it, there is no other.
            model_uri: Which model `engine` is for.
        """
        self._store = store
        self._model = CurrentModel(engine, model_uri)
        self._activity = Activity()
        self._locks = SettingLocks()
        self.chat = CurrentChat(
            store, self._activity, self._locks, conversation=conversation, system=system, on_open=self.warm
        )
        self.library = ChatLibrary(store, self.chat, self._activity)
        self.context = ContextManager(self._model, context_policy)
        self.prompts = PromptBuilder(
            self._model, self.chat, self.context, self._activity, sampling=sampling, max_tokens=max_tokens
        )
        self._warmer = PromptWarmer(self._model, self.prompts, self._activity)
        self._turns = TurnPreparer(self._model, self.chat, self.context, self.prompts, self._warmer)
        self.replies = ReplyRunner(self._model, store, self.chat, self.context, self.prompts, self._activity)
        self.models = ModelSwitcher(self._model, self._activity, self._locks, self._warmer, engine_of)

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None until it is loaded."""
        return self._model.info

    @property
    def busy(self) -> bool:
        """Whether a reply is running or another model is being loaded."""
        return self._activity.busy

    @property
    def conversation(self) -> Conversation:
        """The open chat as it is now, the reply being written included. `id` is 0 until the first message."""
        return self.chat.conversation

    @property
    def context_used(self) -> int:
        """Tokens of the context in use after the last reply; 0 in a new chat."""
        return self.context.used(self.chat.committed)

    @property
    def context_words(self) -> str:
        """What the user is to know of how full the context is, or is about to be; "" for nothing."""
        return self.context.fullness(self.chat.committed)

    @property
    def locked(self) -> frozenset[str]:
        """Settings that the device's owner decides, whatever a chat was started with."""
        return self._locks.keys

    @locked.setter
    def locked(self, keys: frozenset[str]) -> None:
        self._locks.keys = keys
        self.chat.apply_locks()

    def choose_policy(self, policy: Policy) -> None:
        """Set what happens when a chat no longer fits, until the program ends.

        Raises:
            ConfigError: The device decides that.
        """
        if policy != self.context.policy:
            self._locks.refuse("context_policy")
        self.context.policy = policy

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Load the model, as `Engine.start` does, and begin to compute the next prompt."""
        info = await self._model.engine.start(on_progress)
        self.warm()
        return info

    def warm(self, draft: str = "") -> None:
        """Compute the beginning of the next prompt in the background, while the user writes `draft`.

        Called for whatever chat or branch is opened, and when the user pauses. A message that is sent meanwhile does
        not wait for it.
        """
        self._warmer.warm(draft)

    def new(self) -> None:
        """Begin another chat; see `CurrentChat.new`."""
        self.chat.new()

    async def open(self, conversation_id: int, turn: int | None = None, reply: int | None = None) -> Conversation:
        """Go to another chat; see `CurrentChat.open`."""
        return await self.chat.open(conversation_id, turn, reply)

    def send(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Save the user's message and answer it. Yields as `ReplyRunner.run`.

        Raises:
            EngineError: The message is empty; or the reply failed, and the store has its text so far and why.
            ModelError: The model could not be loaded; the message is saved.
            ContextFullError: Something would have to go; the message was not taken, unless the model was still loading.
            StorageError: The message could not be saved, and nothing was sent to the model; or the reply could not.
        """
        return self.replies.run(partial(self._turns.new, text))

    def edit(self, turn_id: int, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Say something else in the place of an earlier message: a sibling of its turn, answered like a new message.

        The old branch stays, and `step` goes back to it. Yields and raises as `send`, and StorageError if the turn is
        not on the branch that is shown.
        """
        return self.replies.run(partial(self._turns.edited, turn_id, text))

    def regenerate(self) -> AsyncGenerator[SessionEvent, None]:
        """Answer the last message once more; the earlier replies stay its siblings. Yields and raises as `send`."""
        return self.replies.run(self._turns.again)

    def resume(self) -> AsyncGenerator[SessionEvent, None]:
        """Continue the last reply, which was stopped, cut or interrupted; it stays one reply.

        Yields and raises as `send`; TextDelta holds what is new.

        Raises:
            EngineError: The last reply ended by itself, or has no text to continue.
        """
        return self.replies.run(self._turns.unfinished)

    async def stop(self) -> None:
        """Stop the running reply and keep its text; or give up loading the model, or switching to another one."""
        if self.models.cancel():
            return
        if self.busy:
            await self.replies.stop()
        elif self.info is None:
            await self._model.engine.stop()

    async def aclose(self) -> None:
        """Stop, end the engine, close the store. Safe to call twice."""
        self.replies.leaving = True
        if self.models.cancel():
            await self._activity.wait_until_idle(CLOSE_SECONDS)
        if self.busy:
            await self.stop()
            await self._activity.wait_until_idle(CLOSE_SECONDS)
        self._warmer.cancel()
        await self._model.engine.aclose()
        # A reply that did not stop by itself has no engine any more, and one that nobody reads is in the journal.
        await self._activity.wait_until_idle(CLOSE_SECONDS)
        await self.replies.wait_until_closed()
        await asyncio.to_thread(self._store.close)
