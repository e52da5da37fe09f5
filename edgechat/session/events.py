"""What a session yields while a reply is written."""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.chat.conversation import Turn
from edgechat.engine.protocol import Finished, Progress, TextDelta
from edgechat.session.context_manager import WindowMoved


@dataclass(frozen=True, slots=True)
class TurnSaved:
    """The turn to be answered is in the store; always the first event of a reply.

    Attributes:
        turn: The turn without its replies; in `Session.resume`, with the reply that is continued.
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
