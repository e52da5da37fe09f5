"""The newer format of `llm`'s log: threads of messages with a parent, as written by llm 0.36.

A message shared by several threads is stored once; a turn is one call of a model, which added the messages from its
`parent_message_hash` to its `tip_message_hash`. Limits and trust are as in `transfer.llm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgechat.errors import TransferError
from edgechat.history.transfer.common import count_of, placeholder, text_of, texts, title_of, utc
from edgechat.history.transfer.json_stream import LARGEST_ITEM
from edgechat.history.transfer.message_tree import Node, build_tree
from edgechat.history.transfer.schema import CarriedChat, CarriedReply
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Iterator

NEEDED = {
    "threads": {"id", "name", "tip_message_hash", "datetime_utc"},
    "turns": {"id", "thread_id", "tip_message_hash", "model", "input_tokens", "output_tokens", "datetime_utc"},
    "messages": {"hash", "parent_hash", "role"},
    "parts": {"message_hash", "position", "type", "text", "payload"},
    "fragments": {"id", "content"},
    "attachments": {"id", "type", "path", "url"},
}
"""The tables and columns that identify such a log."""

_LEFT_OUT = {
    "reasoning": "messages of a model to itself were left out",
    "tool_call": "calls of tools were left out",
    "tool_result": "outputs of tools were left out",
}


class _Ref(msgspec.Struct):
    fragment: int | None = None
    literal: str | None = None


class _Attachment(msgspec.Struct):
    id: str | None = None


class _Payload(msgspec.Struct):
    text_ref: list[_Ref] | None = None
    attachment: _Attachment | None = None


def read_threads(db: sqlite3.Connection, notes: Counter[str]) -> Iterator[CarriedChat]:
    """Yield the chats of the threads.

    Raises:
        TransferError: The content is not a chat, or is too large.
        sqlite3.Error: The log cannot be read.
    """
    for thread, name, tip, started in db.execute("SELECT id, name, tip_message_hash, datetime_utc FROM threads"):
        reader = _Thread(db, notes)
        models: list[str] = []
        times = [utc(started)] if utc(started) else []
        for last, model, sent, generated, time in db.execute(
            "SELECT tip_message_hash, model, input_tokens, output_tokens, datetime_utc FROM turns "
            "WHERE thread_id = ? ORDER BY datetime_utc, id",
            (thread,),
        ):
            models.append("".join(texts(model, notes)))
            times.append(utc(time))
            reader.add(
                last, CarriedReply("", "complete", utc(time), 0.0, models[-1], count_of(sent), 0, count_of(generated))
            )
        tree = build_tree(reader.nodes, tip if isinstance(tip, str) else None, notes)
        first = next((turn.user for turn in tree.turns if turn.user), "")
        yield CarriedChat(
            title_of("".join(texts(name, notes)) or first[:60], notes),
            min(times, default=0.0),
            max(times, default=0.0),
            tree.system,
            models[-1] if models else "",
            tree.turns,
            tree.leaf,
        )


class _Thread:
    """The messages of one thread, collected from the last message of each turn upwards."""

    def __init__(self, db: sqlite3.Connection, notes: Counter[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self._db = db
        self._notes = notes
        self._size = 0

    def add(self, last: Any, call: CarriedReply) -> None:
        """Add a message and its ancestors that are still missing, all of which came with that call of a model."""
        found: dict[str, Node] = {}
        while isinstance(last, str) and last not in self.nodes and last not in found:
            row = self._db.execute("SELECT parent_hash, role FROM messages WHERE hash = ?", (last,)).fetchone()
            if row is None:
                break
            parent, role = row
            found[last] = self._node(parent if isinstance(parent, str) else None, role, self._text(last), call)
            last = parent
        self.nodes.update(reversed(found.items()))

    def _node(self, parent: str | None, role: Any, text: str, call: CarriedReply) -> Node:
        if role == "assistant" and text:
            return Node("assistant", parent, reply=msgspec.structs.replace(call, text=text))
        if role == "user" and text:
            return Node("user", parent, text=text, created=call.created)
        if role == "system":
            return Node("system", parent, text=text)
        if text:
            self._notes["messages of an unknown role were left out"] += 1
        return Node("none", parent)

    def _text(self, message: str) -> str:
        words: list[str] = []
        for kind, text, payload in self._db.execute(
            "SELECT type, text, payload FROM parts WHERE message_hash = ? ORDER BY position", (message,)
        ):
            more = _payload(payload)
            if kind == "text":
                words.append("".join(texts(text, self._notes)) + "".join(map(self._piece, more.text_ref or ())))
            elif kind == "attachment":
                words.append(self._attachment(more.attachment))
            else:
                self._notes[_LEFT_OUT.get(kind, "messages of an unknown kind were left out")] += 1
            self._size += len(words[-1]) + 100 if words else 100
            if self._size > LARGEST_ITEM:
                raise TransferError(
                    "Chat is too large",
                    Sentence("One chat is larger than {value} MB.", value=LARGEST_ITEM >> 20),
                    "Take it out.",
                )
        return "\n\n".join(part for part in words if part)

    def _piece(self, ref: _Ref) -> str:
        if ref.fragment is None:
            return text_of(ref.literal or "", self._notes)
        row = self._db.execute("SELECT content FROM fragments WHERE id = ?", (ref.fragment,)).fetchone()
        return "".join(texts(row[0], self._notes)) if row else placeholder("fragment", None, self._notes)

    def _attachment(self, attachment: _Attachment | None) -> str:
        row = None
        if attachment is not None:
            query = "SELECT COALESCE(path, url, type) FROM attachments WHERE id = ?"
            row = self._db.execute(query, (attachment.id,)).fetchone()
        return text_of(placeholder("attachment", row[0] if row else None, self._notes), self._notes)


def _payload(payload: Any) -> _Payload:
    if not isinstance(payload, str):
        return _Payload()
    try:
        return msgspec.json.decode(payload, type=_Payload)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise TransferError(
            "Log is damaged", Sentence("A part of a message: {error}.", error=error), "Copy it again."
        ) from error
