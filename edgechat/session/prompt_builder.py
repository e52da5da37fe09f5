"""What the model is sent of the chat that is held: its prompt, the window over it, how it is sampled.

Everything about the model that can be asked, or computed ahead, without a reply being written is here; the session
writes replies. Nothing here changes what is kept of a chat.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from edgechat.chat.context_window import Policy, fullness_notice
from edgechat.chat.conversation import Conversation, Message, Reply, Turn, Window
from edgechat.chat.sanitize import storable
from edgechat.engine.protocol import Engine, ModelInfo, ProgressCallback, Prompt, Request, Sampling
from edgechat.errors import EdgechatError, StorageError
from edgechat.history.store import HistoryStore
from edgechat.session.chat_library import KeptChat
from edgechat.session.context_manager import WindowKeeper
from edgechat.settings.loader import Config

LONG_TOKEN = 8
"""Characters: a text with as many in each token on average is one that no person writes."""


def sampling_of(config: Config) -> Sampling:
    """The sampling the settings ask for."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        repetition_penalty=config.repetition_penalty,
        seed=config.seed,
        top_k=config.top_k,
    )


class PromptedChat(KeptChat):
    """The chat that is held, and the engine it is held with.

    Attributes:
        sampling, max_tokens: Used for the next reply; may be set between replies.
        window: What is sent of a chat, and by which policy.
    """

    def __init__(
        self,
        engine: Engine,
        store: HistoryStore,
        conversation: Conversation | None,
        system: str,
        sampling: Sampling,
        max_tokens: int | None,
        window: WindowKeeper,
    ) -> None:
        super().__init__(store, conversation, system)
        self._engine = engine
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.window = window
        self._warming: asyncio.Task[None] | None = None
        self._form: tuple[ModelInfo, int] | None = None

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None until it is loaded."""
        return self._engine.info

    @property
    def context_used(self) -> int:
        """Tokens of the context in use after the last reply; 0 in a new chat."""
        for turn in reversed(self._conversation.turns):
            if turn.reply is not None and turn.reply.prompt_tokens:
                return turn.reply.prompt_tokens + turn.reply.completion_tokens
        return 0

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Load the model; see `Engine.start`."""
        info = await self._engine.start(on_progress)
        self.warm()
        return info

    def new(self) -> None:
        """See `KeptChat.new`."""
        super().new()
        self.warm()

    async def open(self, conversation_id: int, turn: int | None = None, reply: int | None = None) -> Conversation:
        """See `KeptChat.open`."""
        opened = await super().open(conversation_id, turn, reply)
        self.warm()
        return opened

    def warm(self, draft: str = "") -> None:
        """Compute the beginning of the next prompt in the background, while the user writes.

        Called for whatever chat or branch comes into view, and when the user pauses. A message that is sent meanwhile
        does not wait for it.

        Args:
            draft: The next message, as far as it is written; sent as it is, it is answered at once.
        """
        self._cool()
        sampling, info = self._sampling, self._engine.info
        seeded = sampling.seed is not None and sampling.temperature > 0  # computed from nothing each time
        if info is not None and not self.busy and not seeded:
            # Encoding takes seconds a megabyte, and what is sent meanwhile would wait; this would not fit anyhow.
            long = len(draft) > LONG_TOKEN * info.context
            self._warming = asyncio.create_task(self._prefill("" if long else draft), name="warm")

    async def _prefill(self, draft: str) -> None:
        with suppress(EdgechatError):  # it will be told to whoever waits for a reply
            messages = self.window.messages(self._with_draft(storable(draft)[0]))
            await self._engine.prefill(messages, self._sampling.top_k)

    def _cool(self) -> None:
        if self._warming is not None:
            self._warming.cancel()

    def choose_policy(self, policy: Policy) -> None:
        """Set what happens when a chat no longer fits, until the program ends.

        Raises:
            ConfigError: The device decides that.
        """
        if policy != self.window.policy:
            self._refuse_locked("context_policy")
        self.window.policy = policy

    @property
    def context_words(self) -> str:
        """What the user is to know of how full the context is, or is about to be; "" for nothing."""
        info = self._engine.info
        if info is None:
            return ""
        return fullness_notice(self.context_used, info.context, self.window.policy, info.longrope_limit)

    async def prompt_parts(self, draft: str = "", turn_id: int | None = None) -> Prompt:
        """The prompt as the model gets it, in its parts.

        Args:
            draft: The next message; without one it is the prompt of a reply.
            turn_id: The turn of that reply; None for the last one.

        Raises:
            EngineError: The model is not there, or cannot be sent this.
        """
        turns = self._conversation.turns
        if draft or not turns:
            asked = self._with_draft(draft)
            return await self._engine.prompt(self.window.messages(asked))
        last = next((turn for turn in turns if turn.id == turn_id), turns[-1])
        upto = replace(self._conversation, turns=turns[: turns.index(last) + 1])
        prompt = await self._engine.prompt(self.window.messages(_unanswered(upto)))
        if last.reply is None or last.reply.prompt_tokens != prompt.tokens:
            return prompt
        return Prompt(prompt.parts, last.reply.cached_tokens)  # by now, all of it would be

    async def count(self, text: str) -> int | None:
        """Tokens of a text; None while the model cannot be asked, since nobody may wait for this.

        Raises:
            EngineError: The model cannot be sent this.
        """
        info = self._engine.info
        if info is None or self.busy:
            return None
        if self._form is None or self._form[0] is not info:  # what the prompt's form puts around every text
            self._form = info, await self._engine.count((Message("user", ""),))
        return max(0, await self._engine.count((Message("user", storable(text)[0]),)) - self._form[1])

    def _with_draft(self, text: str) -> Conversation:
        """The conversation with a message that is not sent yet."""
        return replace(self._conversation, turns=(*self._conversation.turns, Turn(0, None, text, 0.0)))

    def _asked(self, begun: Reply | None) -> Conversation:
        """The path that is shown, without the reply that is to be replaced."""
        if begun is not None or not self._conversation.turns:
            return self._conversation
        return _unanswered(self._conversation)

    @property
    def _max_tokens(self) -> int | None:
        """Upper bound of a reply in this chat."""
        own = self._conversation.settings.max_tokens
        return self.max_tokens if own is None else own

    @property
    def _sampling(self) -> Sampling:
        """How replies are sampled in this chat."""
        own, general = self._conversation.settings, self.sampling
        return Sampling(
            temperature=general.temperature if own.temperature is None else own.temperature,
            top_p=general.top_p if own.top_p is None else own.top_p,
            repetition_penalty=(
                general.repetition_penalty if own.repetition_penalty is None else own.repetition_penalty
            ),
            seed=general.seed if own.seed is None else own.seed,
            top_k=general.top_k,
        )

    async def _keep_window(self, turn_id: int, window: Window) -> None:
        """Send the chat through another window from that turn on."""
        with suppress(StorageError):  # it is found once more then, when the chat is opened again
            await asyncio.to_thread(self._store.branches.store_window, turn_id, window)
        self._change_turns(lambda turn: replace(turn, window=window) if turn.id == turn_id else turn)

    def _request(self, begun: Reply | None) -> Request:
        """What the engine is asked."""
        return Request(self.window.messages(self._asked(begun)), self._sampling, self._max_tokens)


def _unanswered(conversation: Conversation) -> Conversation:
    """The conversation without the replies to its last message."""
    *before, last = conversation.turns
    return replace(conversation, turns=(*before, replace(last, replies=(), active=-1)))
