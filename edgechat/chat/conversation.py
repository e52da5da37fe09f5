"""A conversation as plain values: turns of one user message and the replies to it, in a tree with one active path.

Nothing here knows of a database, a model or a screen; `history` stores these values, `session` moves them on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a prompt form sees it."""

    role: Role
    content: str


class ReplyState(StrEnum):
    """How far a reply came."""

    STREAMING = "streaming"
    """Being written now; found on opening a chat it means that the process died, and is shown as interrupted."""
    COMPLETE = "complete"
    """The model ended it."""
    LENGTH = "length"
    """It ran into max_tokens or the end of the context."""
    STOPPED = "stopped"
    """The user stopped it; the text so far stays."""
    INTERRUPTED = "interrupted"
    """The program or the worker ended while it was written; the journalled text stays."""
    FAILED = "failed"
    """The engine gave an error; `Reply.error` has the words."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One generation for a turn.

    Attributes:
        id: Row of the store; unique over all chats.
        text: What has been written so far, without control tokens.
        state: How far it came.
        model: Name of the model that wrote it.
        prompt_tokens: Tokens of the prompt, of which `cached_tokens` were not computed again.
        completion_tokens: Tokens generated.
        ttft: Seconds from submit to the first text; None before it.
        seconds: Seconds of decoding, from the first text to the end.
        error: The engine's words when `state` is FAILED or INTERRUPTED, else empty.
        rating: What the reader thought of it: 1 good, -1 bad, 0 nothing said.
        note: The reader's words about it; empty for none.
    """

    id: int
    text: str = ""
    state: ReplyState = ReplyState.STREAMING
    model: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    ttft: float | None = None
    seconds: float = 0.0
    error: str = ""
    rating: Literal[-1, 0, 1] = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """From where on a chat is sent, when not all of it fits into the context.

    Attributes:
        upto: The newest turn that is left out, and with it all before it but the pinned ones; 0 for none.
        summary: What the model made of them; empty where they are only left out.
        context: Tokens of the context it was found for; 0 where nobody knows.
    """

    upto: int = 0
    summary: str = ""
    context: int = 0

    def leaves_out(self, turn: Turn) -> bool:
        """Whether a turn is not sent. One that is not stored yet, with the id 0, is."""
        return 0 < turn.id <= self.upto and not turn.pinned


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message and the replies to it, oldest first.

    Attributes:
        id: Row of the store; unique over all chats.
        parent: The turn before it on its branch; None for a first turn. Two turns with one parent are siblings.
        user: The text the user sent, exactly.
        replies: The generations, of which `active` (an index) is shown and continued from.
        siblings: Ids of the turns that follow the same parent, itself included, oldest first.
        pinned: Whether it stays in the window when older turns have to leave it.
        window: The window that was found when it was to be answered and the chat no longer fitted; it holds for the
            turns after it as well. None is as for the turn before it.
    """

    id: int
    parent: int | None
    user: str
    created: float
    replies: tuple[Reply, ...] = ()
    active: int = -1
    siblings: tuple[int, ...] = ()
    pinned: bool = False
    window: Window | None = None

    @property
    def reply(self) -> Reply | None:
        """The reply that is shown."""
        return self.replies[self.active] if self.replies else None


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What one chat wants otherwise than the user's settings; None is as they say.

    Attributes:
        temperature: 0 is greedy; up to 2.
        top_p: The smallest set of tokens whose probabilities reach this sum, 0 to 1.
        repetition_penalty: 1 is none.
        seed: Makes sampling repeatable.
        max_tokens: Upper bound of a reply.
    """

    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat: its settings and its turns.

    Attributes:
        id: Row of the store.
        title: What lists show; the start of the first message until it is renamed.
        system: The system message; empty for none.
        model: The URI or name of the model it was last held with.
        turns: The active path, first turn first. Turns of other branches stay in the store.
        created, updated: Seconds since the epoch.
        pinned: Whether lists show it before the others.
        archived: Whether lists leave it out.
        settings: What it wants otherwise than the user's settings.
    """

    id: int
    title: str = ""
    system: str = ""
    model: str = ""
    turns: tuple[Turn, ...] = field(default=())
    created: float = 0.0
    updated: float = 0.0
    pinned: bool = False
    archived: bool = False
    settings: ChatSettings = ChatSettings()

    def messages(self) -> tuple[Message, ...]:
        """The active path as messages: system first, then user and assistant in turn.

        A turn that was never answered is left out unless it is the last: what was refused for its length would make
        every later prompt too long as well, and what is sent again after a failure would be read twice.
        """
        out: list[Message] = [Message("system", self.system)] if self.system else []
        for turn in self.turns:
            answer = turn.reply.text if turn.reply is not None else ""
            if answer or turn is self.turns[-1]:
                out.append(Message("user", turn.user))
            if answer:
                out.append(Message("assistant", answer))
        return tuple(out)
