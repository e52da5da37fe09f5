"""The tree of turns in a chat: which branch is active, and deleting and restoring turns.

Switching branches never loses one. Deleting a turn also deletes what follows it, but only marks it; `Chats.purge`
removes old deletions. Nothing here writes message text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechat.history.clock import lived
from edgechat.history.rows import missing, newest_leaf, siblings_of

if TYPE_CHECKING:
    import sqlite3

    from edgechat.chat.conversation import Window
    from edgechat.history.database import Database

_BRANCH = (
    "WITH RECURSIVE branch (id) AS (VALUES (:turn) UNION ALL"
    " SELECT t.id FROM turn t JOIN branch b ON t.parent = b.id AND t.id > b.id) "
)
"""A turn and everything that follows it."""


class Branches:
    """The branches of every chat. Each method is one transaction; changes are on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show_turn(self, turn_id: int) -> None:
        """Activate the branch of a turn, down to its newest turn.

        Raises:
            StorageError: There is no such turn.
        """
        with self._database.writing() as db:
            chat, _ = _turn(db, turn_id)
            db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (newest_leaf(db, turn_id), chat))

    def show_reply(self, reply_id: int) -> None:
        """Make a reply the active one of its turn.

        Raises:
            StorageError: There is no such reply.
        """
        with self._database.writing() as db:
            row = db.execute("SELECT turn FROM reply WHERE id = ?", (reply_id,)).fetchone()
            if row is None:
                raise missing("reply", reply_id)
            db.execute("UPDATE turn SET active = ? WHERE id = ?", (reply_id, row[0]))

    def pin_turn(self, turn_id: int, pinned: bool) -> None:
        """Pin a turn, so that it stays in the context window when older ones have to leave, or unpin it.

        Raises:
            StorageError: There is no such turn.
        """
        with self._database.writing() as db:
            _turn(db, turn_id)
            db.execute("UPDATE turn SET pinned = ? WHERE id = ?", (pinned, turn_id))

    def store_window(self, turn_id: int, window: Window) -> None:
        """Store the context window through which a chat is sent from that turn on.

        Raises:
            StorageError: There is no such turn.
        """
        with self._database.writing(durable=False) as db:
            _turn(db, turn_id)
            db.execute(
                "UPDATE turn SET window_upto = ?, window_summary = ?, window_context = ? WHERE id = ?",
                (window.upto, window.summary, window.context, turn_id),
            )

    def delete_turn(self, turn_id: int) -> None:
        """Delete a turn and everything that follows it; `undelete_turn` restores it until it is purged.

        A sibling branch becomes active, or the chat ends at the previous turn.

        Raises:
            StorageError: There is no such turn.
        """
        with self._database.writing() as db:
            chat, parent = _turn(db, turn_id)
            beside = [other for other in siblings_of(db, chat, parent) if other != turn_id]
            before = max((other for other in beside if other < turn_id), default=None)
            nearest = before or min(beside, default=None)
            active = newest_leaf(db, nearest) if nearest is not None else parent
            db.execute(
                _BRANCH + "UPDATE conversation SET leaf = :shown WHERE id = :chat AND leaf IN (SELECT id FROM branch)",  # noqa: S608
                {"turn": turn_id, "shown": active, "chat": chat},
            )
            db.execute(
                _BRANCH + "UPDATE turn SET deleted = :now WHERE id IN (SELECT id FROM branch) AND deleted IS NULL",  # noqa: S608
                {"turn": turn_id, "now": lived(db)},
            )

    def undelete_turn(self, turn_id: int) -> None:
        """Restore a turn with everything deleted along with it, and activate its branch.

        Raises:
            StorageError: There is no such turn (it may have been purged), or its parent is deleted.
        """
        with self._database.writing() as db:
            row = db.execute(
                "SELECT t.conversation, t.deleted FROM turn t LEFT JOIN turn p ON p.id = t.parent "
                "WHERE t.id = ? AND p.deleted IS NULL",
                (turn_id,),
            ).fetchone()
            if row is None:
                raise missing("turn", turn_id)
            chat, deleted = row
            db.execute(
                _BRANCH + "UPDATE turn SET deleted = NULL WHERE id IN (SELECT id FROM branch) AND deleted = :deleted",  # noqa: S608
                {"turn": turn_id, "deleted": deleted},
            )
            db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (newest_leaf(db, turn_id), chat))


def _turn(db: sqlite3.Connection, turn_id: int) -> tuple[int, int | None]:
    """Return the chat and the parent of a turn that is not deleted."""
    row = db.execute("SELECT conversation, parent FROM turn WHERE id = ? AND deleted IS NULL", (turn_id,)).fetchone()
    if row is None:
        raise missing("turn", turn_id)
    return row[0], row[1]
