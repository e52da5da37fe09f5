"""One conversation being held: engine, history and window brought together.

The session owns the order of things: the user's turn is saved before anything runs, the reply is journalled while it
streams, and every way a reply can end closes it in the store. A screen, `ask` and a server draw what it yields and
keep no state of their own about the conversation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from edgechat.chat.conversation import Conversation, Turn
from edgechat.engine.base import Engine, Finished, ModelInfo, Progress, Sampling, TextDelta
from edgechat.history.store import HistoryStore


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


SessionEvent = TurnSaved | Progress | TextDelta | TurnClosed


class Session:
    """Holds one conversation at a time on one engine.

    Attributes:
        sampling, max_tokens: Used for the next reply; may be set between replies.
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
    ) -> None:
        raise NotImplementedError

    @property
    def conversation(self) -> Conversation:
        """The conversation as it is now, the reply being streamed included. `id` is 0 until the first message."""
        raise NotImplementedError

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None until it is loaded."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether a reply is running."""
        raise NotImplementedError

    @property
    def context_used(self) -> int:
        """Tokens of the context in use after the last reply; 0 in a new chat."""
        raise NotImplementedError

    async def start(self, on_progress: Callable[[Progress], None] | None = None) -> ModelInfo:
        """Load the model; see `Engine.start`."""
        raise NotImplementedError

    def send(self, text: str) -> AsyncIterator[SessionEvent]:
        """Save the user's message, answer it, and yield TurnSaved, Progress and TextDelta, TurnClosed.

        If the model is still loading, the message is saved at once and the reply begins when it is loaded.

        Raises:
            EngineError: The reply failed; the text so far is kept in the store and the reply is marked.
            StorageError: The message could not be saved; nothing was sent to the model.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop the running reply and keep its text."""
        raise NotImplementedError

    def new(self) -> None:
        """Begin another chat with the same settings. The old one stays in the store. Raises EngineError while busy."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Stop, close the store, end the engine."""
        raise NotImplementedError
