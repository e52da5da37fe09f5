"""Open WebUI's exports: a list of chats, each with `history.messages`, a map of messages that know their parent.

"Export chats" writes what its database has (`{"title": ..., "chat": {...}, "created_at": ...}`); an older version, or
another program, may write the inner part alone, and the oldest had a list of messages in place of the map.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from edgechat.history.transfer_foreign import decode, instead, seconds, text_of, title_of
from edgechat.history.transfer_form import CarriedChat, CarriedReply, State
from edgechat.history.transfer_tree import Node, grow


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


class _Annotation(msgspec.Struct):
    rating: float | str | None = None
    comment: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[Any] | None = None
    parentId: str | None = None  # noqa: N815 - as it stands in the file
    childrenIds: list[str] | None = None  # noqa: N815
    timestamp: float | None = None
    model: str | None = None
    done: bool | None = None
    error: Any = None
    files: list[Any] | None = None
    usage: _Usage | None = None
    info: _Usage | None = None
    annotation: _Annotation | None = None


class _History(msgspec.Struct):
    messages: dict[str, _Message]
    currentId: str | None = None  # noqa: N815


class _Params(msgspec.Struct):
    system: str | None = None


class _Inner(msgspec.Struct):
    title: str | None = None
    history: _History | None = None
    messages: list[_Message] | None = None
    models: list[str] | None = None
    params: _Params | None = None
    system: str | None = None
    timestamp: float | None = None


class _Record(msgspec.Struct):
    chat: _Inner
    title: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    pinned: bool | None = None
    archived: bool | None = None


def read_openwebui(raw: bytes, notes: Counter[str], *, bare: bool) -> CarriedChat:
    """One chat of the export.

    Args:
        raw: Its JSON text.
        notes: Counts what people should be told.
        bare: Whether it is the inner part alone.

    Raises:
        TransferError: It is of another form, or its messages follow each other in a circle.
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
    tree = grow({name: _node(message, created, notes) for name, message in messages.items()}, current, notes)
    system = (chat.params.system if chat.params else None) or chat.system or ""
    return CarriedChat(
        title_of(record.title or chat.title, notes),
        created,
        seconds(record.updated_at, created),
        "\n\n".join(part for part in (text_of(system, notes), tree.system) if part),
        text_of(chat.models[0] if chat.models else "", notes),
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
    usage = message.usage or message.info or _Usage()
    annotation = message.annotation or _Annotation()
    reply = CarriedReply(
        text,
        state,
        time,
        0.0,
        text_of(message.model or "", notes),
        prompt_tokens=_count(usage.prompt_tokens, usage.prompt_eval_count),
        completion_tokens=_count(usage.completion_tokens, usage.eval_count),
        error=text_of(error, notes),
        rating=1 if annotation.rating in (1, "1") else -1 if annotation.rating in (-1, "-1") else 0,
        note=text_of(annotation.comment or "", notes),
    )
    return Node("assistant", message.parentId, children, created=time, reply=reply)


def _text(message: _Message, notes: Counter[str]) -> str:
    parts: list[str] = []
    for file in message.files or ():
        entry = file if isinstance(file, dict) else {}
        kind = "image" if entry.get("type") == "image" else "attachment"
        parts.append(instead(kind, entry.get("name"), notes))
    if isinstance(message.content, str):
        parts.append(message.content)
    for part in message.content if isinstance(message.content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            parts.append(part["text"])
        else:
            parts.append(instead("attachment", part.get("type") if isinstance(part, dict) else None, notes))
    return text_of("\n\n".join(part for part in parts if part), notes)


def _error(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("content") or error.get("message") or True
    return error if isinstance(error, str) else "It failed." if error else ""


def _count(*counts: int | None) -> int:
    return next((count for count in counts if count is not None and 0 <= count < 2**53), 0)
