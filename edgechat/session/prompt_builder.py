"""What the model is sent of the open chat: its prompt, how replies are sampled and how long they may be.

Everything about the model that can be asked without a reply being written is here. Nothing here changes a chat.
"""

from __future__ import annotations

from dataclasses import replace

from edgechat.chat.conversation import Conversation, Message, Reply, Turn
from edgechat.chat.sanitize import storable
from edgechat.engine.protocol import ModelInfo, Prompt, Request, Sampling
from edgechat.session.activity import Activity
from edgechat.session.context_manager import ContextManager
from edgechat.session.current_chat import CurrentChat
from edgechat.session.current_model import CurrentModel
from edgechat.settings.schema import Config


def sampling_of(config: Config) -> Sampling:
    """The sampling the settings ask for."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        repetition_penalty=config.repetition_penalty,
        seed=config.seed,
        top_k=config.top_k,
    )


class PromptBuilder:
    """Prompts of the open chat for the model in use.

    Attributes:
        sampling, max_tokens: What applies where a chat has no settings of its own; may be set between replies.
    """

    def __init__(
        self,
        model: CurrentModel,
        chat: CurrentChat,
        context: ContextManager,
        activity: Activity,
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Nothing is asked of the model yet.

        Args:
            model: Is asked about texts.
            chat: The chat to be sent.
            context: Decides how much of it is sent.
            activity: Says whether the model can be asked.
            sampling: How replies are sampled.
            max_tokens: Upper bound of a reply; None is up to the end of the context.
        """
        self._model = model
        self._chat = chat
        self._context = context
        self._activity = activity
        self.sampling = sampling or Sampling()
        self.max_tokens = max_tokens
        self._template_tokens: tuple[ModelInfo, int] | None = None

    @property
    def chat_sampling(self) -> Sampling:
        """How replies are sampled in the open chat."""
        own, general = self._chat.committed.settings, self.sampling
        return Sampling(
            temperature=general.temperature if own.temperature is None else own.temperature,
            top_p=general.top_p if own.top_p is None else own.top_p,
            repetition_penalty=(
                general.repetition_penalty if own.repetition_penalty is None else own.repetition_penalty
            ),
            seed=general.seed if own.seed is None else own.seed,
            top_k=general.top_k,
        )

    @property
    def chat_max_tokens(self) -> int | None:
        """Upper bound of a reply in the open chat."""
        own = self._chat.committed.settings.max_tokens
        return self.max_tokens if own is None else own

    def to_answer(self, resumed: Reply | None) -> Conversation:
        """The chat as the model is to answer it: without the replies to the last message, unless one is resumed."""
        chat = self._chat.committed
        return chat if resumed is not None or not chat.turns else _unanswered(chat)

    def request(self, resumed: Reply | None) -> Request:
        """What the engine is asked for the next reply, or to continue that one."""
        messages = self._context.messages(self.to_answer(resumed))
        return Request(messages, self.chat_sampling, self.chat_max_tokens)

    def draft_messages(self, draft: str) -> tuple[Message, ...]:
        """What would be sent with a message that is still being written."""
        chat = self._chat.committed
        return self._context.messages(replace(chat, turns=(*chat.turns, Turn(0, None, draft, 0.0))))

    async def parts(self, draft: str = "", turn_id: int | None = None) -> Prompt:
        """The prompt as the model gets it, in its parts.

        Args:
            draft: The next message; without one it is the prompt of a reply.
            turn_id: The turn of that reply; None for the last one.

        Raises:
            EngineError: The model is not there, or cannot be sent this.
        """
        turns = self._chat.committed.turns
        if draft or not turns:
            return await self._model.engine.prompt(self.draft_messages(draft))
        last = next((turn for turn in turns if turn.id == turn_id), turns[-1])
        upto = replace(self._chat.committed, turns=turns[: turns.index(last) + 1])
        prompt = await self._model.engine.prompt(self._context.messages(_unanswered(upto)))
        if last.reply is None or last.reply.prompt_tokens != prompt.tokens:
            return prompt
        return Prompt(prompt.parts, last.reply.cached_tokens)  # by now, all of it would be

    async def count(self, text: str) -> int | None:
        """Tokens of a text; None while the model cannot be asked, since nobody may wait for this.

        Raises:
            EngineError: The model cannot be sent this.
        """
        info, engine = self._model.info, self._model.engine
        if info is None or self._activity.busy:
            return None
        if self._template_tokens is None or self._template_tokens[0] is not info:
            # What the chat template puts around every text is not part of it.
            self._template_tokens = info, await engine.count((Message("user", ""),))
        around = self._template_tokens[1]
        return max(0, await engine.count((Message("user", storable(text)[0]),)) - around)


def _unanswered(conversation: Conversation) -> Conversation:
    """The conversation without the replies to its last message."""
    *before, last = conversation.turns
    return replace(conversation, turns=(*before, replace(last, replies=(), active=-1)))
