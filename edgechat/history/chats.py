"""Managing chats: rename, pin, archive, duplicate, delete and restore.

Deleting only marks a chat. Purging after thirty days, or on demand, is the only way a chat is ever removed from disk.
Nothing here changes the content of a chat.
"""

from __future__ import annotations

import time
from dataclasses import astuple
from typing import TYPE_CHECKING

from edgechat.history.clock import DAY, lived
from edgechat.history.rows import REPLY_COLUMNS, fold, live_chat, missing, row_id, touch

if TYPE_CHECKING:
    from edgechat.chat.conversation import ChatSettings
    from edgechat.history.database import Database

PURGE_DAYS = 30
"""Days until a deleted chat or turn is purged."""

_PLAIN_REPLY = REPLY_COLUMNS.replace("r.", "").removeprefix("id, ")


class Chats:
    """All chats of a history. Each method is one transaction, on disk when it returns.

    Every method raises StorageError if there is no such chat or it cannot be written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rename(self, conversation_id: int, title: str) -> None:
        """Change the title of a chat."""
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            db.execute("UPDATE conversation SET title = ? WHERE id = ?", (title, conversation_id))

    def pin(self, conversation_id: int, pinned: bool) -> None:
        """Pin a chat to the top of lists, or unpin it."""
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            db.execute("UPDATE conversation SET pinned = ? WHERE id = ?", (pinned, conversation_id))

    def archive(self, conversation_id: int, archived: bool) -> None:
        """Hide a chat from lists, or show it again. Search still finds it."""
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            db.execute("UPDATE conversation SET archived = ? WHERE id = ?", (archived, conversation_id))

    def configure(self, conversation_id: int, system: str, settings: ChatSettings) -> None:
        """Change a chat's system message and settings, which apply from its next reply."""
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            db.execute(
                "UPDATE conversation SET system = ?, temperature = ?, top_p = ?, repetition_penalty = ?, seed = ?, "
                "max_tokens = ? WHERE id = ?",
                (system, *astuple(settings), conversation_id),
            )

    def duplicate(self, conversation_id: int, title: str = "") -> int:
        """Copy a chat with all its branches, except deleted parts.

        Args:
            conversation_id: The chat.
            title: Title of the copy; defaults to the original with " (copy)".

        Returns:
            The id of the copy.
        """
        now = time.time()
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            copy = row_id(
                db.execute(
                    "INSERT INTO conversation (title, system, model, created, updated, touched, temperature, top_p, "
                    "repetition_penalty, seed, max_tokens) "
                    "SELECT CASE WHEN ? != '' THEN ? ELSE title || ' (copy)' END, system, model, ?, ?, 0, "
                    "temperature, top_p, repetition_penalty, seed, max_tokens FROM conversation WHERE id = ?",
                    (title, title, now, now, conversation_id),
                )
            )
            turns: dict[int | None, int | None] = {None: None}
            twins: dict[int, int] = {}
            for id_, parent, active, upto, follows in db.execute(
                "SELECT id, parent, active, window_upto, follows FROM turn "
                "WHERE conversation = ? AND deleted IS NULL ORDER BY id",
                (conversation_id,),
            ).fetchall():
                if parent not in turns:
                    continue  # what follows a deleted turn is left out too
                turns[id_] = turn = row_id(
                    db.execute(
                        "INSERT INTO turn (conversation, parent, user, created, pinned, window_upto, window_summary,"
                        " window_context, follows) "
                        "SELECT ?, ?, user, created, pinned, ?, window_summary, window_context, ? "
                        "FROM turn WHERE id = ?",
                        (copy, turns[parent], turns.get(upto), twins.get(follows), id_),
                    )
                )
                for (reply,) in db.execute("SELECT id FROM reply WHERE turn = ? ORDER BY id", (id_,)).fetchall():
                    twins[reply] = twin = row_id(
                        db.execute(
                            f"INSERT INTO reply (turn, created, {_PLAIN_REPLY}) "  # noqa: S608
                            f"SELECT ?, created, {_PLAIN_REPLY} FROM reply WHERE id = ?",
                            (turn, reply),
                        )
                    )
                    # A reply being written is copied as far as it has come, and the copy is not continued.
                    db.execute(
                        "INSERT INTO fragment (reply, n, text) SELECT ?, n, text FROM fragment WHERE reply = ?",
                        (twin, reply),
                    )
                    fold(db, twin, None)
                    db.execute("UPDATE reply SET state = 'interrupted' WHERE id = ? AND state = 'streaming'", (twin,))
                    if reply == active:
                        db.execute("UPDATE turn SET active = ? WHERE id = ?", (twin, turn))
            (leaf,) = db.execute("SELECT leaf FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
            db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (turns.get(leaf), copy))
            touch(db, copy, now)
        return copy

    def delete(self, conversation_id: int) -> None:
        """Delete a chat; `undelete` restores it until it is purged."""
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            db.execute("UPDATE conversation SET deleted = ? WHERE id = ?", (lived(db), conversation_id))

    def undelete(self, conversation_id: int) -> None:
        """Restore a deleted chat; does nothing if it is not deleted."""
        with self._database.writing() as db:
            cursor = db.execute("UPDATE conversation SET deleted = NULL WHERE id = ?", (conversation_id,))
            if not cursor.rowcount:
                raise missing("chat", conversation_id)

    def purge(self, days: float | None = None) -> tuple[int, int]:
        """Permanently delete chats and turns that are marked as deleted.

        Args:
            days: Minimum age of the deletion in days of this history's own time; None purges all of them and also
                overwrites their words in the index. Backups retain theirs until they expire.

        Returns:
            The number of chats, and of turns in other chats.
        """
        with self._database.writing() as db:
            limit = float("inf") if days is None else lived(db) - days * DAY
            db.execute("CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY)")
            # With everything that follows them, whenever that was deleted.
            db.execute(
                "INSERT INTO doomed WITH RECURSIVE branch (id) AS ("
                " SELECT id FROM turn WHERE deleted < :limit"
                " UNION SELECT t.id FROM turn t JOIN conversation c ON c.id = t.conversation WHERE c.deleted < :limit"
                " UNION SELECT t.id FROM turn t JOIN branch b ON t.parent = b.id) SELECT id FROM branch",
                {"limit": limit},
            )
            (turns,) = db.execute(
                "SELECT COUNT(*) FROM doomed d JOIN turn t USING (id) JOIN conversation c ON c.id = t.conversation "
                "WHERE c.deleted IS NULL OR c.deleted >= ?",
                (limit,),
            ).fetchone()
            db.execute("UPDATE conversation SET leaf = NULL WHERE leaf IN (SELECT id FROM doomed)")
            db.execute("UPDATE turn SET active = NULL WHERE id IN (SELECT id FROM doomed)")
            of_turn = "reply IN (SELECT r.id FROM reply r JOIN doomed d ON d.id = r.turn)"
            db.execute(f"DELETE FROM fragment WHERE {of_turn}")  # noqa: S608
            db.execute("DELETE FROM reply WHERE turn IN (SELECT id FROM doomed)")
            db.execute("DELETE FROM turn WHERE id IN (SELECT id FROM doomed)")
            chats = db.execute("DELETE FROM conversation WHERE deleted < ?", (limit,)).rowcount
            db.execute("DROP TABLE doomed")
            if days is None:
                db.execute("INSERT INTO words (words) VALUES ('optimize')")
                db.execute("INSERT INTO titles (titles) VALUES ('optimize')")
        return chats, turns
