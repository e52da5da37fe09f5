"""ChatGPT's data export: conversations.json, a list of chats, each a `mapping` of messages with a parent.

The format is undocumented and has grown over time. Chats, messages and their order are validated strictly; everything
else is used if it has the expected form.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from edgechat.chat.sanitize import fenced
from edgechat.history.transfer.common import decode, placeholder, seconds, text_of, title_of
from edgechat.history.transfer.message_tree import Node, build_tree
from edgechat.history.transfer.schema import CarriedChat, CarriedReply, State

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


class _Metadata(msgspec.Struct):
    is_visually_hidden_from_conversation: Any = None
    user_context_message_data: Any = None
    model_slug: Any = None
    finish_details: Any = None
    attachments: Any = None


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
    """Convert one chat of the export.

    Args:
        raw: Its JSON text.
        notes: Counts what to report to the user.

    Raises:
        TransferError: It has another format, or its messages form a cycle.
        TransferError: It is of another form, or its messages follow each other in a circle.
    """
    chat = decode(raw, _Chat)
    created = seconds(chat.create_time)
    nodes = {name: _node(node, created, notes) for name, node in chat.mapping.items()}
    tree = build_tree(nodes, chat.current_node, notes)
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
    files = metadata.attachments if isinstance(metadata.attachments, list) else []
    names = [file.get("name") if isinstance(file, dict) else None for file in files]
    text = text_of("\n\n".join([*(placeholder("attachment", name, notes) for name in names), text]).strip("\n"), notes)
    if not _is_included(role, message, content, metadata, text, notes):
        return Node("none", node.parent, children)
    if role == "user":
        return Node("user", node.parent, children, text, time)
    if role == "system":
        return Node("system", node.parent, children, text, time)
    finish = metadata.finish_details if isinstance(metadata.finish_details, dict) else {}
    state: State = "interrupted" if message.status == "in_progress" else "complete"
    state = _STATES.get(str(finish.get("type")), state)
    model = text_of(metadata.model_slug, notes) if isinstance(metadata.model_slug, str) else ""
    return Node("assistant", node.parent, children, created=time, reply=CarriedReply(text, state, time, 0.0, model))


def _is_included(
    role: str, message: _Message, content: _Content, metadata: _Metadata, text: str, notes: Counter[str]
) -> bool:
    """Whether to include a message; counts those that are skipped."""
    if role == "tool" and text:  # an image it generated
        return True
    if role == "tool":
        notes["outputs of tools were left out"] += 1
    elif role == "assistant" and content.content_type in _THINKING:
        notes["messages of a model to itself were left out"] += 1
    elif metadata.is_visually_hidden_from_conversation:
        notes.update(["messages that ChatGPT hides were left out"] if text else [])
    elif role == "assistant" and message.recipient not in (None, "all"):
        notes["calls of tools were left out"] += 1
    elif role not in ("user", "assistant", "system"):
        notes["messages of an unknown role were left out"] += 1
    elif not text and content.content_type not in ("text", "multimodal_text"):
        notes["messages of an unknown kind were left out"] += 1
    else:
        return True
    return False


def _instructions(content: _Content, metadata: _Metadata) -> str:
    """Return the user's custom instructions, which ChatGPT stores next to the messages."""
    data = metadata.user_context_message_data if isinstance(metadata.user_context_message_data, dict) else {}
    instructions = [data.get("about_user_message"), data.get("about_model_message")]
    instructions += [content.user_profile, content.user_instructions]
    return "\n\n".join(words for words in instructions if isinstance(words, str) and words)


def _text(content: _Content, notes: Counter[str], *, pictures_only: bool) -> str:
    """Return the text of a message, with placeholders in brackets for other content."""
    parts: list[str] = []
    for part in content.parts or ():
        entry = part if isinstance(part, dict) else {}
        kind, words = entry.get("content_type"), entry.get("text")
        if isinstance(part, str):
            parts.append(part)
        elif kind == "image_asset_pointer":
            parts.append(placeholder("image", entry.get("asset_pointer"), notes))
        elif isinstance(words, str):
            parts.append(words)
        elif not pictures_only:
            parts.append(placeholder("attachment", kind, notes))
    if content.text:
        parts.append(fenced(content.text) if content.content_type == "code" else content.text)
    if pictures_only:
        parts = [part for part in parts if part.startswith("[image: ")]
    return "\n\n".join(part for part in parts if part)
