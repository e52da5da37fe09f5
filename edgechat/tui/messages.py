"""Facts that workers post and the chat screen handles: what the session said, in the order it said it.

All are past tense. None carries a widget, so that a fact that arrives late can do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from edgechat.engine.protocol import Progress, Prompt
from edgechat.errors import EdgechatError
from edgechat.session.session import SessionEvent


@dataclass
class ModelProgressed(Message):
    """Installing or loading the model went on.

    Attributes:
        progress: How far it came.
    """

    progress: Progress


class ModelStarted(Message):
    """The model is loaded; the session knows its name and context."""


@dataclass
class ModelFailed(Message):
    """The model could not be loaded.

    Attributes:
        error: Why, in words for the user.
    """

    error: EdgechatError


@dataclass
class SessionYielded(Message):
    """The session told the next thing about the reply that runs.

    Attributes:
        event: What `Session.send` yielded.
    """

    event: SessionEvent


@dataclass
class SendEnded(Message):
    """`Session.send` came to its end; always the last message of a send that was not cancelled.

    Attributes:
        text: The user's message.
        error: Why it failed; None if it did not.
    """

    text: str
    error: EdgechatError | None = None


@dataclass
class PromptCame(Message):
    """The prompt that was asked for is there.

    Attributes:
        prompt: Its parts.
        title: Whose it is.
    """

    prompt: Prompt
    title: str


@dataclass
class PromptFailed(Message):
    """The prompt that was asked for cannot be shown.

    Attributes:
        error: Why, in words for the user.
    """

    error: EdgechatError


@dataclass
class StopFailed(Message):
    """The running reply could not be stopped.

    Attributes:
        error: Why, in words for the user.
    """

    error: EdgechatError


@dataclass
class TokensCounted(Message):
    """The message being written was counted.

    Attributes:
        text: What was counted.
        tokens: How many it has; None where the model could not be asked.
    """

    text: str
    tokens: int | None


@dataclass
class CommandFailed(Message):
    """A command could not be obeyed.

    Attributes:
        line: As it was written; empty where there is nothing to give back.
        error: Why, in words for the user.
    """

    line: str
    error: EdgechatError
