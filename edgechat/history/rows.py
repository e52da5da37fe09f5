"""Converts rows to values and back, for the modules that use the schema.

Each function runs inside its caller's transaction and decides nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgechat.chat.conversation import Reply, ReplyState, Turn, Window
from edgechat.errors import StorageError
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

REPLY_COLUMNS = (
    "r.id, r.text, r.state, r.model, r.prompt_tokens, r.cached_tokens, r.completion_tokens, r.ttft, r.seconds, "
    "r.error, r.rating, r.note"
)


TITLE_LENGTH = 60
"""Characters of the first message that become the title."""

TITLE_SOURCE = 1000
"""Characters searched for the title: a pasted book need not be split to find its first line."""


def title_of(user: str) -> str:
    """Return the title of a chat that starts with that message."""
    words = " ".join(user[:TITLE_SOURCE].split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"


def active_path(db: sqlite3.Connection, conversation_id: int, dead: frozenset[int]) -> tuple[Turn, ...]:
    """Return the active path of a chat; streaming replies in `dead` count as interrupted."""
    pieces: dict[int, list[str]] = defaultdict(list)
    for reply_id, text in db.execute(
        "SELECT f.reply, f.text FROM turn t JOIN reply r ON r.turn = t.id JOIN fragment f ON f.reply = r.id "
        "WHERE t.conversation = ? ORDER BY f.reply, f.n",
        (conversation_id,),
    ).fetchall():
        pieces[reply_id].append(text)
    replies: dict[int, list[Reply]] = defaultdict(list)
    for turn_id, *row in db.execute(
        f"SELECT r.turn, {REPLY_COLUMNS} FROM turn t JOIN reply r ON r.turn = t.id "  # noqa: S608
        "WHERE t.conversation = ? ORDER BY r.id",
        (conversation_id,),
    ).fetchall():
        reply = reply_of(row)
        replies[turn_id].append(
            replace(
                reply,
                text=reply.text + "".join(pieces[reply.id]),
                # Marked here too, in case it could not be stored.
                state=ReplyState.INTERRUPTED
                if reply.id in dead and reply.state is ReplyState.STREAMING
                else reply.state,
            )
        )
    turns = []
    for id_, parent, user, created, active, pinned, upto, summary, context in db.execute(
        "WITH RECURSIVE path (id, parent) AS ("
        " SELECT t.id, t.parent FROM turn t JOIN conversation c ON c.leaf = t.id WHERE c.id = ?"
        " UNION ALL"
        " SELECT t.id, t.parent FROM turn t JOIN path p ON t.id = p.parent AND t.id < p.id"
        ") SELECT t.id, t.parent, t.user, t.created, t.active, t.pinned,"
        " t.window_upto, t.window_summary, t.window_context FROM path JOIN turn t USING (id) ORDER BY id",
        (conversation_id,),
    ).fetchall():
        generations = tuple(replies[id_])
        index = next((n for n, reply in enumerate(generations) if reply.id == active), len(generations) - 1)
        siblings = siblings_of(db, conversation_id, parent)
        window = Window(upto, summary, context) if upto is not None else None
        turns.append(Turn(id_, parent, user, created, generations, index, siblings, bool(pinned), window))
    (leaf,) = db.execute("SELECT leaf FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if leaf is not None and (not turns or turns[-1].id != leaf or turns[0].parent is not None):
        raise ValueError("turns of a chat are missing")
    return tuple(turns)


def siblings_of(db: sqlite3.Connection, conversation_id: int, parent: int | None) -> tuple[int, ...]:
    """Return the children of a turn in a chat, oldest first, without deleted ones."""
    if parent is None:
        rows = db.execute(
            "SELECT id FROM turn WHERE conversation = ? AND parent IS NULL AND deleted IS NULL ORDER BY id",
            (conversation_id,),
        )
    else:
        rows = db.execute("SELECT id FROM turn WHERE parent = ? AND deleted IS NULL ORDER BY id", (parent,))
    return tuple(id_ for (id_,) in rows.fetchall())


def newest_leaf(db: sqlite3.Connection, turn_id: int) -> int:
    """Return the end of a turn's branch, following the newest turn at each fork."""
    while True:
        (newest,) = db.execute(
            "SELECT MAX(id) FROM turn WHERE parent = ? AND id > ? AND deleted IS NULL", (turn_id, turn_id)
        ).fetchone()
        if newest is None:
            return turn_id
        turn_id = newest


def fold(db: sqlite3.Connection, reply_id: int, text: str | None) -> None:
    """Store `text`, or the journalled text, as the reply's text and empty its journal."""
    if text is None:
        (before,) = db.execute("SELECT text FROM reply WHERE id = ?", (reply_id,)).fetchone()
        pieces = db.execute("SELECT text FROM fragment WHERE reply = ? ORDER BY n", (reply_id,)).fetchall()
        text = before + "".join(piece for (piece,) in pieces)
    db.execute("UPDATE reply SET text = ? WHERE id = ?", (text, reply_id))
    db.execute("DELETE FROM fragment WHERE reply = ?", (reply_id,))


def touch(db: sqlite3.Connection, conversation_id: int, now: float) -> None:
    """Mark a chat as the most recently changed."""
    db.execute(
        "UPDATE conversation SET updated = ?, touched = (SELECT MAX(touched) + 1 FROM conversation) WHERE id = ?",
        (now, conversation_id),
    )


def has_turn(db: sqlite3.Connection, turn_id: int, conversation_id: int) -> bool:
    """Whether the chat has that turn and it is not deleted."""
    found = db.execute(
        "SELECT 1 FROM turn WHERE id = ? AND conversation = ? AND deleted IS NULL", (turn_id, conversation_id)
    ).fetchone()
    return found is not None


def reply_of(row: Iterable[Any]) -> Reply:
    """Build a reply from a row of `REPLY_COLUMNS`."""
    id_, text, state, *rest = row
    return Reply(id_, text, ReplyState(state), *rest)


def row_id(cursor: sqlite3.Cursor) -> int:
    """Return the id of the row just inserted."""
    assert cursor.lastrowid is not None  # every table here has integer keys
    return cursor.lastrowid


def live_chat(db: sqlite3.Connection, conversation_id: int) -> None:
    """Raise StorageError unless the chat exists and is not deleted."""
    if not db.execute("SELECT 1 FROM conversation WHERE id = ? AND deleted IS NULL", (conversation_id,)).fetchone():
        raise missing("chat", conversation_id)


def missing(kind: str, id_: int) -> StorageError:
    """Return the error for an unknown id."""
    return StorageError(
        Sentence("No such {kind}", kind=kind),
        Sentence("The history has no {kind} {id}.", kind=kind, id=id_),
        "It may have been deleted meanwhile.",
    )
