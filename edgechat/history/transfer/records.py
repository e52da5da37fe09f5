"""Reads and writes complete chats, with every branch, reply and timestamp preserved.

The store advances a chat step by step by the current time; here a chat is read or written as one value for transfer.
Columns are accessed by name, so that a history at another schema version works with what it has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from edgechat.chat.conversation import ReplyState
from edgechat.history.transfer.schema import CarriedChat, CarriedReply, CarriedSettings, CarriedTurn, State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from edgechat.history.database import Database

_CHAT = ("title", "created", "updated", "system", "model")
_SETTINGS = CarriedSettings.__struct_fields__
_REPLY = tuple(name for name in CarriedReply.__struct_fields__ if name != "state")
_STATES: dict[str, State] = {
    ReplyState.COMPLETE: "complete",
    ReplyState.LENGTH: "length",
    ReplyState.STOPPED: "stopped",
    ReplyState.FAILED: "failed",
    ReplyState.INTERRUPTED: "interrupted",
    # What has been written so far; nobody continues the copy.
    ReplyState.STREAMING: "interrupted",
}


def chat_ids(database: Database) -> list[int]:
    """Return the chats that are not deleted, most recently changed last.

    Raises:
        StorageError: The history cannot be read.
    """
    with database.reading() as db:
        rows = _rows(db, "SELECT * FROM conversation ORDER BY touched")
    return [row["id"] for row in rows if row.get("deleted") is None]


def read_chat(database: Database, chat_id: int) -> CarriedChat | None:
    """Read one chat with all its branches; None if there is none with that id, or it is deleted.

    Raises:
        StorageError: The history cannot be read, or is damaged.
    """
    with database.reading() as db:
        return _read(db, chat_id)


def created_at(db: sqlite3.Connection) -> dict[float, list[int]]:
    """Return the chats that are not deleted, by creation time."""
    found: dict[float, list[int]] = defaultdict(list)
    for row in _rows(db, "SELECT * FROM conversation"):
        if row.get("deleted") is None:
            found[row["created"]].append(row["id"])
    return found


def read_with(db: sqlite3.Connection, chat_id: int) -> CarriedChat:
    """Like `read_chat`, for an existing chat within the caller's transaction."""
    chat = _read(db, chat_id)
    assert chat is not None
    return chat


def add_below(db: sqlite3.Connection, chats: Iterable[CarriedChat], count: int) -> Counter[str]:
    """Add chats below all others, the last of them on top, so that the most recent chat stays first in lists.

    Args:
        db: The caller's write transaction.
        chats: The chats, with validated trees.
        count: Maximum number of chats.

    Returns:
        The fields for which this history has no column, and how often they had a value.
    """
    columns = {table: _columns(db, table) for table in ("conversation", "turn", "reply")}
    (lowest,) = db.execute("SELECT COALESCE(MIN(touched), 1) FROM conversation").fetchone()
    without: Counter[str] = Counter()
    for place, chat in enumerate(chats, lowest - count):
        _insert_chat(db, chat, place, columns, without)
    return without


def _insert_chat(
    db: sqlite3.Connection, chat: CarriedChat, touched: int, columns: dict[str, set[str]], without: Counter[str]
) -> None:
    values = {name: getattr(chat, name) for name in (*_CHAT, "pinned", "archived")}
    values |= {name: getattr(chat.settings, name, None) for name in _SETTINGS}
    id_ = _insert(db, "conversation", {**values, "touched": touched}, columns, without)
    turns: list[int] = []
    replies: list[list[int]] = []
    for turn in chat.turns:
        turns.append(
            _insert(
                db,
                "turn",
                {
                    "conversation": id_,
                    "parent": None if turn.parent is None else turns[turn.parent],
                    "user": turn.user,
                    "created": turn.created,
                    "pinned": turn.pinned,
                    "follows": None
                    if turn.parent is None or turn.follows is None
                    else replies[turn.parent][turn.follows],
                },
                columns,
                without,
            )
        )
        replies.append(
            [
                _insert(
                    db,
                    "reply",
                    {"turn": turns[-1], "state": reply.state, **{name: getattr(reply, name) for name in _REPLY}},
                    columns,
                    without,
                )
                for reply in turn.replies
            ]
        )
        if turn.active is not None:
            db.execute("UPDATE turn SET active = ? WHERE id = ?", (replies[-1][turn.active], turns[-1]))
    if chat.leaf is not None:
        db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (turns[chat.leaf], id_))


def _insert(
    db: sqlite3.Connection,
    table: str,
    values: dict[str, Any],
    columns: dict[str, set[str]],
    without: Counter[str],
) -> int:
    known = {name: value for name, value in values.items() if name in columns[table]}
    without.update(name for name, value in values.items() if value and name not in known)
    cursor = db.execute(
        f"INSERT INTO {table} ({', '.join(known)}) VALUES ({', '.join('?' * len(known))})",  # noqa: S608 - own names
        tuple(known.values()),
    )
    assert cursor.lastrowid is not None  # all tables here have integer keys
    return cursor.lastrowid


def _read(db: sqlite3.Connection, chat_id: int) -> CarriedChat | None:
    chat = next(iter(_rows(db, "SELECT * FROM conversation WHERE id = ?", chat_id)), None)
    if chat is None or chat.get("deleted") is not None:
        return None
    pieces: dict[int, list[str]] = defaultdict(list)
    for reply_id, text in db.execute(
        "SELECT f.reply, f.text FROM turn t JOIN reply r ON r.turn = t.id JOIN fragment f ON f.reply = r.id "
        "WHERE t.conversation = ? ORDER BY f.reply, f.n",
        (chat_id,),
    ):
        pieces[reply_id].append(text)
    replies: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for reply in _rows(
        db, "SELECT r.* FROM turn t JOIN reply r ON r.turn = t.id WHERE t.conversation = ? ORDER BY r.id", chat_id
    ):
        reply["text"] += "".join(pieces[reply["id"]])
        replies[reply["turn"]].append(reply)
    turns: list[CarriedTurn] = []
    places: dict[int, int] = {}
    for turn in _rows(db, "SELECT * FROM turn WHERE conversation = ? ORDER BY id", chat_id):
        parent = turn["parent"]
        if turn.get("deleted") is not None or (parent is not None and parent not in places):
            continue  # what follows a deleted turn is left out too
        places[turn["id"]] = len(turns)
        before = None if parent is None else places[parent]
        follows = _place(replies[parent], turn.get("follows"))
        turns.append(_turn(turn, before, replies[turn["id"]], follows))
    settings = {name: chat[name] for name in _SETTINGS if chat.get(name) is not None}
    return CarriedChat(
        **{name: chat[name] for name in _CHAT},
        turns=tuple(turns),
        leaf=places.get(chat["leaf"]),
        pinned=bool(chat.get("pinned")),
        archived=bool(chat.get("archived")),
        settings=CarriedSettings(**settings) if settings else None,
    )


def _turn(
    turn: dict[str, Any], parent: int | None, replies: Sequence[dict[str, Any]], follows: int | None
) -> CarriedTurn:
    return CarriedTurn(
        turn["user"],
        turn["created"],
        parent,
        tuple(
            CarriedReply(
                state=_STATES[ReplyState(reply["state"])],
                # A missing or empty column is like a reply of which nothing is known.
                **{name: reply[name] for name in _REPLY if reply.get(name) is not None},
            )
            for reply in replies
        ),
        _place(replies, turn["active"]),
        bool(turn.get("pinned")),
        follows,
    )


def _place(replies: Sequence[dict[str, Any]], id_: int | None) -> int | None:
    return next((n for n, reply in enumerate(replies) if reply["id"] == id_), None)


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _rows(db: sqlite3.Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
