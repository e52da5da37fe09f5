"""Replies as traces: what is sent of a chat, said in full before anything is sent.

A reply has one trace for ever: its name is made of when and after what it was written, so that sending it again
replaces it and never adds to it. Nothing here speaks to a server, and nothing but what is in a `ReplyTrace` is sent.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from edgechat.history.transfer.schema import CarriedChat, CarriedReply, CarriedTurn

EARLIER = 32_000
"""Characters of what was said before that go with a reply; all of it is in the traces of the same session."""

PREVIEW = 500
"""Characters of the message and of the reply that lists of traces show."""

THUMBS = "thumbs_up"
NOTE = "note"
"""The assessments that a trace may have: a thumb with the reader's words, or the words alone."""

_FINISHED = {"complete": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the reader thought of a reply.

    Attributes:
        id: What the server knows it by.
        name: THUMBS or NOTE.
        value: Whether the reply is good; of a note, its words.
        rationale: The words that go with a thumb; None for none.
    """

    id: str
    name: str
    value: bool | str
    rationale: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyTrace:
    """One reply as a trace of one span.

    Attributes:
        id: 32 hexadecimal digits.
        session: What the traces of one chat have in common.
        begun: When the reply was begun, in milliseconds since the epoch.
        duration: Milliseconds to the first text and of decoding; 0 where nobody knows.
        failed: Whether the reply ended with an error.
        inputs, outputs: The messages and the reply, in OpenAI's form.
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
        """Tells whether anything of it has changed."""
        return _hash(json.dumps(asdict(self), sort_keys=True).encode())


def assessment_id(trace: str, name: str) -> str:
    """What a server knows, or would know, the assessment of that name of a trace by."""
    return f"a-{_hash(trace.encode(), name.encode())}"


def traces_of(chat: CarriedChat, experiment: str) -> Iterator[ReplyTrace]:
    """A trace for each reply in a chat, in every branch; those without a word or an error have none.

    Args:
        chat: The chat.
        experiment: The name of the experiment they are for: in another one, a reply is another trace.
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
        attributes["edgechat.error"] = reply.error
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
    """Within what a trace can hold, whatever clock or file said it."""
    return int(min(max(seconds, 0.0), 4e9) * 1000)


def _assessments(trace: str, reply: CarriedReply) -> Iterator[Assessment]:
    if reply.rating:
        yield Assessment(assessment_id(trace, THUMBS), THUMBS, reply.rating > 0, reply.note or None)
    elif reply.note:
        yield Assessment(assessment_id(trace, NOTE), NOTE, reply.note)


def _messages(chat: CarriedChat, turn: CarriedTurn) -> list[dict[str, str]]:
    """The system message, the newest of what was said before, and the message that was answered."""
    messages = [{"role": "user", "content": turn.user}]
    size, after = 0, turn
    while after.parent is not None:
        before = chat.turns[after.parent]
        answer = _answer(before, after)
        size += len(before.user) + len(answer)
        if size > EARLIER:
            break
        if answer:  # what was never answered is not sent to a model either
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": before.user}]
        after = before
    if chat.system:
        messages.append({"role": "system", "content": chat.system})
    return messages[::-1]


def _answer(turn: CarriedTurn, after: CarriedTurn) -> str:
    """The reply that a turn went on from, whichever is shown or was written since; where nobody knows, the one shown.

    Times do not tell it: a device that starts in 1970 writes the newer reply at the earlier time.
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
