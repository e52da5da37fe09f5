"""Open WebUI's exports: a list of chats, each with `history.messages`, a map of messages with a parent.

"Export chats" writes database records (`{"title": ..., "chat": {...}, "created_at": ...}`); an older version or another
program may write only the inner part, and the oldest had a list of messages instead of the map. Chats are validated
strictly; everything else is used if it has the expected form.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from edgechat.history.transfer.common import count_of, decode, placeholder, seconds, text_of, title_of
from edgechat.history.transfer.message_tree import Node, build_tree
from edgechat.history.transfer.schema import CarriedChat, CarriedReply, State


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[Any] | None = None
    parentId: str | None = None  # noqa: N815 - as it stands in the file
    childrenIds: list[str] | None = None  # noqa: N815
    timestamp: float | None = None
    model: Any = None
    done: Any = None
    output: Any = None
    error: Any = None
    files: Any = None
    usage: Any = None
    info: Any = None
    annotation: Any = None


class _History(msgspec.Struct):
    messages: dict[str, _Message]
    currentId: str | None = None  # noqa: N815


class _Inner(msgspec.Struct):
    title: str | None = None
    history: _History | None = None
    messages: list[_Message] | None = None
    models: Any = None
    params: Any = None
    system: Any = None
    timestamp: float | None = None


class _Record(msgspec.Struct):
    chat: _Inner
    title: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    pinned: bool | None = None
    archived: bool | None = None


def read_openwebui(raw: bytes, notes: Counter[str], *, bare: bool) -> CarriedChat:
    """Convert one chat of the export.

    Args:
        raw: Its JSON text.
        notes: Counts what to report to the user.
        bare: Whether it is just the inner part.

    Raises:
        TransferError: It has another format, or its messages form a cycle.
    """
    record = _Record(decode(raw, _Inner)) if bare else decode(raw, _Record)
    chat = record.chat
    created = seconds(record.created_at, seconds(chat.timestamp))
    current: str | None
    if chat.history is not None:
        messages, current = chat.history.messages, chat.history.currentId
    else:
        listed = chat.messages or []
        messages = {
            str(n): msgspec.structs.replace(message, parentId=str(n - 1) if n else None, childrenIds=None)
            for n, message in enumerate(listed)
        }
        current = str(len(listed) - 1)
    tree = build_tree({name: _node(message, created, notes) for name, message in messages.items()}, current, notes)
    system = _some(chat.params, "system") or chat.system
    model = chat.models[0] if isinstance(chat.models, list) and chat.models else None
    return CarriedChat(
        title_of(record.title or chat.title, notes),
        created,
        seconds(record.updated_at, created),
        "\n\n".join(part for part in (_text_of(system, notes), tree.system) if part),
        _text_of(model, notes),
        tree.turns,
        tree.leaf,
        bool(record.pinned),
        bool(record.archived),
    )


def _node(message: _Message, created: float, notes: Counter[str]) -> Node:
    children = tuple(message.childrenIds or ())
    text = _text(message, notes)
    time = seconds(message.timestamp, created)
    if message.role in ("user", "system"):
        return Node("user" if message.role == "user" else "system", message.parentId, children, text, time)
    if message.role != "assistant":
        notes["messages of an unknown role were left out"] += 1
        return Node("none", message.parentId, children)
    error = _error(message.error)
    state: State = "failed" if error else "interrupted" if message.done is False else "complete"
    usage = message.usage or message.info
    rating = _some(message.annotation, "rating")
    reply = CarriedReply(
        text,
        state,
        time,
        0.0,
        _text_of(message.model, notes),
        prompt_tokens=_count(usage, "prompt_tokens", "prompt_eval_count"),
        completion_tokens=_count(usage, "completion_tokens", "eval_count"),
        error=text_of(error, notes),
        rating=1 if rating in (1, "1") else -1 if rating in (-1, "-1") else 0,
        note=_text_of(_some(message.annotation, "comment"), notes),
    )
    return Node("assistant", message.parentId, children, created=time, reply=reply)


def _text(message: _Message, notes: Counter[str]) -> str:
    parts: list[str] = []
    for file in message.files if isinstance(message.files, list) else ():
        kind = "image" if _some(file, "type") == "image" else "attachment"
        parts.append(placeholder(kind, _some(file, "name"), notes))
    if isinstance(message.content, str):
        parts.append(message.content)
    for item in message.output if not message.content and isinstance(message.output, list) else ():
        for part in _some(item, "content") or () if _some(item, "type") == "message" else ():
            parts.append(_text_of(_some(part, "text"), notes))
    for part in message.content if isinstance(message.content, list) else ():
        text = _some(part, "text")
        parts.append(text if isinstance(text, str) else placeholder("attachment", _some(part, "type"), notes))
    return text_of("\n\n".join(part for part in parts if part), notes)


def _error(error: Any) -> str:
    words = _some(error, "content") or _some(error, "message") or error
    return words if isinstance(words, str) else "It failed." if words else ""


def _some(value: Any, name: str) -> Any:
    """Return a member of a value that may not be an object."""
    return value.get(name) if isinstance(value, dict) else None


def _text_of(value: Any, notes: Counter[str]) -> str:
    """Return the text of a value that may not be text."""
    return text_of(value, notes) if isinstance(value, str) else ""


def _count(usage: Any, *names: str) -> int:
    return next((count for name in names if (count := count_of(_some(usage, name)))), 0)
