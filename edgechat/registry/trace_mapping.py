"""Maps replies to traces: determines completely what is sent of a chat before anything is sent.

A reply has one trace forever: its id derives from when it was written and after what, so that sending it again replaces
    it
and never adds another. Nothing here contacts a server, and nothing outside `ReplyTrace` is sent.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from edgechat.history.transfer.schema import CarriedChat, CarriedReply, CarriedTurn
from edgechat.i18n.sentence import load

EARLIER = 32_000
"""Characters of earlier messages sent with a reply; the traces of the same session have all of them."""

PREVIEW = 500
"""Characters of message and reply shown in lists of traces."""

THUMBS = "thumbs_up"
NOTE = "note"
"""The possible assessments of a trace: a thumb with the reader's note, or the note alone."""

_FINISHED = {"complete": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The reader's feedback on a reply.

    Attributes:
        id: The server's id for it.
        name: THUMBS or NOTE.
        value: Whether the reply is good; for a note, its text.
        rationale: The note that goes with a thumb; None for none.
    """

    id: str
    name: str
    value: bool | str
    rationale: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyTrace:
    """One reply as a trace with a single span.

    Attributes:
        id: 32 hexadecimal digits.
        session: Shared by the traces of one chat.
        begun: When the reply was started, in milliseconds since the epoch.
        duration: Milliseconds to the first text and of decoding; 0 if unknown.
        failed: Whether the reply ended with an error.
        inputs, outputs: The messages and the reply, in OpenAI's format.
        attributes: Model, usage and timings.
        assessments: The feedback.
    """

    id: str
    session: str
    begun: int
    duration: int
    failed: bool
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    assessments: tuple[Assessment, ...] = ()

    @property
    def digest(self) -> str:
        """Return a digest that changes whenever anything in it does."""
        return _hash(json.dumps(asdict(self), sort_keys=True).encode())


def assessment_id(trace: str, name: str) -> str:
    """Return the server's id for a trace's assessment with that name, whether or not it exists."""
    return f"a-{_hash(trace.encode(), name.encode())}"


def traces_of(chat: CarriedChat, experiment: str) -> Iterator[ReplyTrace]:
    """Yield a trace for each reply in every branch of a chat, except those with neither text nor error.

    Args:
        chat: The chat.
        experiment: Name of the experiment they are for: in another one, a reply has another trace.
    """
    marks: list[bytes] = []
    begin = struct.pack("<d", chat.created)
    session = "edgechat-" + _hash(begin, *(_mark(b"", turn) for turn in chat.turns[:1]))
    for turn in chat.turns:
        marks.append(_mark(begin if turn.parent is None else marks[turn.parent], turn))
        for place, reply in enumerate(turn.replies):
            if reply.text or reply.error:
                name = _hash(experiment.encode(), marks[-1], struct.pack("<dq", reply.created, place))
                yield _trace(name, session, _messages(chat, turn), reply)


def _trace(name: str, session: str, messages: list[dict[str, str]], reply: CarriedReply) -> ReplyTrace:
    said = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": said, "finish_reason": _FINISHED.get(reply.state, reply.state)}
    attributes: dict[str, Any] = {"edgechat.state": reply.state}
    if reply.model:
        attributes["mlflow.llm.model"] = reply.model
    if reply.prompt_tokens or reply.completion_tokens:
        attributes["mlflow.chat.tokenUsage"] = {
            "input_tokens": reply.prompt_tokens,
            "output_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            "cache_read_input_tokens": reply.cached_tokens,
        }
    if reply.ttft is not None:
        attributes["edgechat.ttft_seconds"] = reply.ttft
    if reply.seconds:
        attributes["edgechat.decode_seconds"] = reply.seconds
    if reply.error:
        attributes["edgechat.error"] = ". ".join(filter(None, load(reply.error)))
    return ReplyTrace(
        name,
        session,
        begun=_milliseconds(reply.created),
        duration=_milliseconds((reply.ttft or 0.0) + reply.seconds),
        failed=reply.state == "failed",
        inputs={"messages": messages},
        outputs={"choices": [choice]},
        attributes=attributes,
        assessments=tuple(_assessments(name, reply)),
    )


def _milliseconds(seconds: float) -> int:
    """Convert to milliseconds within the range of a trace, whatever clock or file the value comes from."""
    return int(min(max(seconds, 0.0), 4e9) * 1000)


def _assessments(trace: str, reply: CarriedReply) -> Iterator[Assessment]:
    if reply.rating:
        yield Assessment(assessment_id(trace, THUMBS), THUMBS, reply.rating > 0, reply.note or None)
    elif reply.note:
        yield Assessment(assessment_id(trace, NOTE), NOTE, reply.note)


def _messages(chat: CarriedChat, turn: CarriedTurn) -> list[dict[str, str]]:
    """Return the system message, the latest messages before the turn, and the message that was answered."""
    messages = [{"role": "user", "content": turn.user}]
    size, after = 0, turn
    while after.parent is not None:
        before = chat.turns[after.parent]
        answer = _answer(before, after)
        size += len(before.user) + len(answer)
        if size > EARLIER:
            break
        if answer:  # unanswered messages are not sent to a model either
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": before.user}]
        after = before
    if chat.system:
        messages.append({"role": "system", "content": chat.system})
    return messages[::-1]


def _answer(turn: CarriedTurn, after: CarriedTurn) -> str:
    """Return the reply that a turn followed, whichever is active or was written since; if unknown, the active one.

    Times do not tell: a device that starts in 1970 gives a newer reply an earlier time.
    """
    place = after.follows if after.follows is not None else turn.active
    if place is not None:
        return turn.replies[place].text
    return turn.replies[-1].text if turn.replies else ""


def _mark(before: bytes, turn: CarriedTurn) -> bytes:
    return _hash(before, struct.pack("<d", turn.created), turn.user.encode()).encode()


def _hash(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(struct.pack("<q", len(part)) + part)
    return digest.hexdigest()
