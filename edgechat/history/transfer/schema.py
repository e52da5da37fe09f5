"""The transfer format: edgechat's own JSON, to which every other program's export is converted.

The file is `{"format": "edgechat-chats", "version": 1, "chats": [...]}`, and these classes are its documentation;
`edgechat chats export --schema` prints them as a JSON Schema. It must contain everything in a chat: export and import
are the identity. Nothing here depends on a database. Unknown fields are rejected, never dropped silently; a new field
needs a default, so that older files remain readable.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from edgechat.chat.conversation import Conversation, Reply, ReplyState, Turn

FORMAT = "edgechat-chats"
VERSION = 1

Index = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Time = Annotated[float, msgspec.Meta(ge=-1e11, le=1e11)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
State = Literal["complete", "length", "stopped", "interrupted", "failed"]


class CarriedReply(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One reply of a model.

    Attributes:
        text: What the model wrote, without control tokens.
        state: How it ended, as in `ReplyState`. A reply that is being written is carried as "interrupted".
        created: Seconds since the epoch.
        seconds: Seconds of decoding; 0 where nobody knows.
        model: Name of the model.
        prompt_tokens, cached_tokens, completion_tokens: As in `chat.conversation.Reply`.
        ttft: Seconds to the first text; null if there was none.
        error: Words about the failure; empty for none.
        rating: What the reader thought of it: 1 good, -1 bad, 0 nothing said.
        note: The reader's words about it.
    """

    text: str
    state: State
    created: Time
    seconds: float
    model: str = ""
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    completion_tokens: Count = 0
    ttft: float | None = None
    error: str = ""
    rating: Literal[-1, 0, 1] = 0
    note: str = ""


class CarriedTurn(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One message of the user and the replies to it.

    Attributes:
        user: The message, exactly.
        created: Seconds since the epoch.
        parent: The turn it follows, as its place in `CarriedChat.turns`, which is before its own; null for a first one.
        replies: Oldest first.
        active: The reply that is shown, as its place in `replies`; null where there is none.
        pinned: Whether it stays in the window when older turns have to leave it.
        follows: The reply that was shown of the turn before when the message was sent, as its place there; null where
            nobody knows.
    """

    user: str
    created: Time
    parent: Index | None = None
    replies: tuple[CarriedReply, ...] = ()
    active: Index | None = None
    pinned: bool = False
    follows: Index | None = None


class CarriedSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one chat wants otherwise than the user's settings; null is as they say."""

    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: Count | None = None


class CarriedChat(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One chat with all its branches.

    Attributes:
        title: What lists show.
        created, updated: Seconds since the epoch.
        system: The system message; empty for none.
        model: URI or name of the model it was last held with.
        turns: All turns, each after the one it follows.
        leaf: The last turn of the branch that is shown, as its place in `turns`; null where there is no turn.
        pinned, archived: How lists treat it.
        settings: What it wants otherwise than the user's settings; null for nothing.
    """

    title: str
    created: Time
    updated: Time
    system: str = ""
    model: str = ""
    turns: tuple[CarriedTurn, ...] = ()
    leaf: Index | None = None
    pinned: bool = False
    archived: bool = False
    settings: CarriedSettings | None = None


class CarriedFile(msgspec.Struct, frozen=True):
    """The whole file. `version` is raised when a file can no longer be read by an older edgechat."""

    format: Literal["edgechat-chats"]
    version: Literal[1]
    chats: list[CarriedChat]


def schema() -> dict[str, Any]:
    """The form as a JSON Schema."""
    return msgspec.json.schema(CarriedFile)


def fault(chat: CarriedChat) -> str:
    """What is wrong with the tree of a chat, in words; empty when nothing is."""
    for place, turn in enumerate(chat.turns):
        if turn.parent is not None and turn.parent >= place:
            return f"turn {place} follows turn {turn.parent}, which is not before it"
        if turn.active is not None and turn.active >= len(turn.replies):
            return f"turn {place} shows reply {turn.active}, and has {len(turn.replies)}"
        before = chat.turns[turn.parent].replies if turn.parent is not None else ()
        if turn.follows is not None and turn.follows >= len(before):
            return f"turn {place} follows reply {turn.follows} of the turn before it, which has {len(before)}"
    if chat.leaf is not None and chat.leaf >= len(chat.turns):
        return f"it shows turn {chat.leaf}, and has {len(chat.turns)}"
    return ""


def active_branch(chat: CarriedChat) -> Conversation:
    """The branch of a chat that is shown; ids are places in `chat.turns`."""
    path: list[Turn] = []
    place = chat.leaf
    while place is not None:
        turn = chat.turns[place]
        replies = tuple(
            Reply(
                n,
                reply.text,
                ReplyState(reply.state),
                reply.model,
                error=reply.error,
                rating=reply.rating,
                note=reply.note,
            )
            for n, reply in enumerate(turn.replies)
        )
        active = turn.active if turn.active is not None else len(replies) - 1
        path.append(Turn(place, turn.parent, turn.user, turn.created, replies, active))
        place = turn.parent
    return Conversation(0, chat.title, chat.system, chat.model, tuple(reversed(path)), chat.created, chat.updated)
