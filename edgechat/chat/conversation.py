"""A conversation as plain values: turns of one user message and its replies, in a tree with one active path.

Nothing here depends on a database, a model or a screen; `history` stores these values, `session` advances them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as a prompt format sees it."""

    role: Role
    content: str


class ReplyState(StrEnum):
    """The state of a reply."""

    STREAMING = "streaming"
    """Being written; when found on opening a chat, the process has died, and it is shown as interrupted."""
    COMPLETE = "complete"
    """Ended by the model."""
    LENGTH = "length"
    """Reached max_tokens or the end of the context."""
    STOPPED = "stopped"
    """Stopped by the user; the text so far is kept."""
    INTERRUPTED = "interrupted"
    """The program or the worker ended while writing it; the journalled text is kept."""
    FAILED = "failed"
    """The engine reported an error; see `Reply.error`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One generation for a turn.

    Attributes:
        id: Row id in the store; unique across chats.
        text: The text so far, without control tokens.
        state: How far it got.
        model: Name of the model that wrote it.
        prompt_tokens: Tokens in the prompt, of which `cached_tokens` were reused.
        completion_tokens: Tokens generated.
        ttft: Seconds from submitting to the first text; None before that.
        seconds: Seconds of decoding, from the first text to the end.
        error: The engine's message if `state` is FAILED or INTERRUPTED, else empty.
        rating: The reader's rating: 1 good, -1 bad, 0 none.
        note: The reader's note; empty for none.
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
    """Where the sent part of a chat starts, if not all of it fits into the context.

    Attributes:
        upto: The newest turn left out, along with all before it except pinned ones; 0 for none.
        summary: The model's summary of them; empty if they are just left out.
        context: Context window in tokens it was determined for; 0 if unknown.
    """

    upto: int = 0
    summary: str = ""
    context: int = 0

    def leaves_out(self, turn: Turn) -> bool:
        """Whether a turn is not sent. A turn not stored yet, with id 0, is always sent."""
        return 0 < turn.id <= self.upto and not turn.pinned


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message and the replies to it, oldest first.

    Attributes:
        id: Row id in the store; unique across chats.
        parent: The previous turn on its branch; None for a first turn. Turns with the same parent are siblings.
        user: The exact text the user sent.
        replies: The generations; `active` is the index of the one shown and continued from.
        siblings: Ids of the turns with the same parent, including this one, oldest first.
        pinned: Whether it stays in the context window when older turns have to leave it.
        window: The window determined when the chat no longer fitted at this turn; it applies to later turns too. None
            inherits from the previous turn.
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
        """The active reply."""
        return self.replies[self.active] if self.replies else None


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """A chat's settings that override the user's; None means not overridden.

    Attributes:
        temperature: 0 (greedy) to 2.
        top_p: Sample from the smallest set of tokens whose probabilities add up to this, 0 to 1.
        repetition_penalty: 1 means none.
        seed: Makes sampling repeatable.
        max_tokens: Maximum length of a reply.
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
        id: Row id in the store.
        title: Title in lists; the start of the first message until it is renamed.
        system: The system message; empty for none.
        model: URI or name of the model last used.
        turns: The active path, first turn first. Turns of other branches stay in the store.
        created, updated: Seconds since the epoch.
        pinned: Whether it is pinned to the top of lists.
        archived: Whether it is hidden from lists.
        settings: Overrides of the user's settings.
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
        """Return the active path as messages: system first, then user and assistant alternating.

        A turn without a reply is left out unless it is the last: a message refused for its length would make every
        later prompt too long as well, and one resent after a failure would appear twice.
        """
        out: list[Message] = [Message("system", self.system)] if self.system else []
        for turn in self.turns:
            answer = turn.reply.text if turn.reply is not None else ""
            if answer or turn is self.turns[-1]:
                out.append(Message("user", turn.user))
            if answer:
                out.append(Message("assistant", answer))
        return tuple(out)
