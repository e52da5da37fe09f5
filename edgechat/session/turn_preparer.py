"""Which turn the model is to answer: a new message, an edited one, or the last one once more.

Each way of asking for a reply ends in a `ReplyTask`, whose turn is in the store; writing the reply is the runner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgechat.chat.conversation import Reply, ReplyState, Turn
from edgechat.chat.sanitize import storable
from edgechat.errors import EngineError
from edgechat.i18n.catalog import ngettext
from edgechat.session.cancellation import run_to_completion
from edgechat.session.context_manager import ContextManager
from edgechat.session.current_chat import CurrentChat
from edgechat.session.current_model import CurrentModel
from edgechat.session.prompt_builder import PromptBuilder
from edgechat.session.prompt_warmer import PromptWarmer


@dataclass(frozen=True, slots=True)
class ReplyTask:
    """A turn to be answered; it is in the store, and the last one of the branch that is shown.

    Attributes:
        turn: The turn.
        resumed: The reply of it that is to be continued; None asks for a new one.
        notices: Words for the user about the message.
    """

    turn: Turn
    resumed: Reply | None = None
    notices: tuple[str, ...] = ()


class TurnPreparer:
    """Makes the turns of the open chat ready to be answered. It has no state of its own."""

    def __init__(
        self,
        model: CurrentModel,
        chat: CurrentChat,
        context: ContextManager,
        prompts: PromptBuilder,
        warmer: PromptWarmer,
    ) -> None:
        self._model = model
        self._chat = chat
        self._context = context
        self._prompts = prompts
        self._warmer = warmer

    async def new(self, text: str) -> ReplyTask:
        """Save a message at the end of the branch that is shown.

        Raises:
            EngineError: The message is empty.
            ContextFullError: Something would have to leave the context, and the policy is to ask.
            StorageError: The message could not be saved.
        """
        return await self._save(text, len(self._chat.committed.turns))

    async def edited(self, turn_id: int, text: str) -> ReplyTask:
        """Save a message in the place of an earlier one, as a sibling of its turn. Raises as `new`.

        Raises:
            StorageError: The turn is not on the branch that is shown.
        """
        return await self._save(text, self._chat.position(turn_id))

    async def again(self) -> ReplyTask:
        """The last message once more. Raises EngineError where there is none."""
        return ReplyTask(self._chat.last_turn())

    async def unfinished(self) -> ReplyTask:
        """The last reply, to be continued.

        Raises:
            EngineError: It ended by itself, or has no text to continue.
        """
        turn = self._chat.last_turn()
        reply = turn.reply
        if reply is None or not reply.text or reply.state in (ReplyState.COMPLETE, ReplyState.STREAMING):
            raise EngineError(
                "There is nothing to go on with",
                "The last reply ended by itself, or has no text yet.",
                "Ask for more in a message, or for another reply.",
            )
        return ReplyTask(turn, reply)

    async def _save(self, text: str, after: int) -> ReplyTask:
        message, replaced = storable(text)
        if not message.strip():
            raise EngineError("The message is empty", "", "Write something to be answered.")
        self._warmer.cancel()
        if after:
            chat = self._chat.committed
            draft = replace(chat, turns=(*chat.turns[:after], Turn(0, None, message, 0.0)))
            await self._context.check(draft, self._prompts.chat_max_tokens)
        turn = await run_to_completion(self._chat.add_turn(message, after, self._model.name))
        return ReplyTask(turn, notices=_replaced_notice(replaced))


def _replaced_notice(replaced: int) -> tuple[str, ...]:
    """The notice about characters that cannot be stored; empty if there were none."""
    if not replaced:
        return ()
    words = ngettext(
        "{n} character that is not text was replaced by {sign}.",
        "{n} characters that are not text were replaced by {sign}.",
        replaced,
    )
    return (words.format(n=replaced, sign="\ufffd"),)
