"""ChatGPT's data export: conversations.json, a list of chats, each a `mapping` of messages that know their parent.

The form was never documented and has grown; what is not known is not needed, and what is needed is checked.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from edgechat.history.transfer_foreign import decode, fenced, instead, seconds, text_of, title_of
from edgechat.history.transfer_form import CarriedChat, CarriedReply, State
from edgechat.history.transfer_tree import Node, grow

_THINKING = frozenset({"thoughts", "reasoning_recap"})
_STATES: dict[str, State] = {"max_tokens": "length", "interrupted": "stopped", "cancelled": "stopped"}


class _Author(msgspec.Struct):
    role: str


class _Content(msgspec.Struct):
    content_type: str = "text"
    parts: list[Any] | None = None
    text: str | None = None
    user_profile: str | None = None
    user_instructions: str | None = None


class _Finish(msgspec.Struct):
    type: str | None = None


class _Attachment(msgspec.Struct):
    name: str | None = None


class _Metadata(msgspec.Struct):
    is_visually_hidden_from_conversation: bool | None = None
    user_context_message_data: dict[str, Any] | None = None
    model_slug: str | None = None
    finish_details: _Finish | None = None
    attachments: list[_Attachment] | None = None


class _Message(msgspec.Struct):
    author: _Author
    content: _Content | None = None
    create_time: float | None = None
    status: str | None = None
    recipient: str | None = None
    metadata: _Metadata | None = None


class _Node(msgspec.Struct):
    message: _Message | None = None
    parent: str | None = None
    children: list[str] | None = None


class _Chat(msgspec.Struct):
    mapping: dict[str, _Node]
    title: str | None = None
    create_time: float | None = None
    update_time: float | None = None
    current_node: str | None = None
    default_model_slug: str | None = None
    is_archived: bool | None = None
    is_starred: bool | None = None


def read_chatgpt(raw: bytes, notes: Counter[str]) -> CarriedChat:
    """One chat of the export.

    Args:
        raw: Its JSON text.
        notes: Counts what people should be told.

    Raises:
        TransferError: It is of another form, or its messages follow each other in a circle.
    """
    chat = decode(raw, _Chat)
    created = seconds(chat.create_time)
    nodes = {name: _node(node, created, notes) for name, node in chat.mapping.items()}
    tree = grow(nodes, chat.current_node, notes)
    models = [reply.model for turn in tree.turns for reply in turn.replies if reply.model]
    return CarriedChat(
        title_of(chat.title, notes),
        created,
        seconds(chat.update_time, created),
        tree.system,
        text_of(chat.default_model_slug or (models[-1] if models else ""), notes),
        tree.turns,
        tree.leaf,
        bool(chat.is_starred),
        bool(chat.is_archived),
    )


def _node(node: _Node, created: float, notes: Counter[str]) -> Node:
    message = node.message
    children = tuple(node.children or ())
    if message is None:
        return Node("none", node.parent, children)
    metadata = message.metadata or _Metadata()
    content = message.content or _Content()
    role = message.author.role
    time = seconds(message.create_time, created)
    instructions = _instructions(content, metadata)
    if instructions:
        return Node("system", node.parent, children, text_of(instructions, notes), time)
    text = _text(content, notes, pictures_only=role == "tool")
    names = [attachment.name for attachment in metadata.attachments or ()]
    text = "\n\n".join([*(instead("attachment", name, notes) for name in names), *([text] if text else [])])
    if not _kept(role, message, content, metadata, text, notes):
        return Node("none", node.parent, children)
    if role == "user":
        return Node("user", node.parent, children, text, time)
    if role == "system":
        return Node("system", node.parent, children, text, time)
    finish = metadata.finish_details.type if metadata.finish_details else None
    state: State = "interrupted" if message.status == "in_progress" else _STATES.get(finish or "", "complete")
    model = text_of(metadata.model_slug or "", notes)
    return Node("assistant", node.parent, children, created=time, reply=CarriedReply(text, state, time, 0.0, model))


def _kept(role: str, message: _Message, content: _Content, metadata: _Metadata, text: str, notes: Counter[str]) -> bool:
    """Whether a message is kept; tells what is not."""
    if role == "user" and not metadata.is_visually_hidden_from_conversation:
        return True
    if not text:
        return role == "assistant" and content.content_type == "text" and message.recipient in (None, "all")
    if metadata.is_visually_hidden_from_conversation:
        notes["messages that ChatGPT hides were left out"] += 1
    elif role == "system":
        return True
    elif role == "tool":
        if text.startswith("[image"):
            return True
        notes["outputs of tools were left out"] += 1
    elif role != "assistant":
        notes["messages of an unknown role were left out"] += 1
    elif content.content_type in _THINKING:
        notes["messages of a model to itself were left out"] += 1
    elif message.recipient not in (None, "all"):
        notes["calls of tools were left out"] += 1
    else:
        return True
    return False


def _instructions(content: _Content, metadata: _Metadata) -> str:
    """The user's custom instructions, which ChatGPT keeps beside the messages."""
    data = metadata.user_context_message_data or {}
    told = [data.get("about_user_message"), data.get("about_model_message")]
    told += [content.user_profile, content.user_instructions]
    return "\n\n".join(words for words in told if isinstance(words, str) and words)


def _text(content: _Content, notes: Counter[str], *, pictures_only: bool) -> str:
    parts: list[str] = []
    for part in content.parts or ():
        if isinstance(part, str):
            parts.append(text_of(part, notes))
        elif isinstance(part, dict):
            kind = part.get("content_type")
            if kind == "image_asset_pointer":
                parts.append(text_of(instead("image", part.get("asset_pointer"), notes), notes))
            elif isinstance(part.get("text"), str):
                parts.append(text_of(part["text"], notes))
            elif not pictures_only:
                parts.append(text_of(instead("attachment", kind, notes), notes))
        elif part is not None:
            parts.append(instead("attachment", None, notes))
    if content.text:
        text = text_of(content.text, notes)
        parts.append(fenced(text) if content.content_type == "code" else text)
    if pictures_only:
        pictures = [part for part in parts if part.startswith("[image")]
        parts = pictures or parts
    return "\n\n".join(part for part in parts if part)
