"""The reader's feedback on replies: thumbs up or down, and a note.

Feedback is stored with the reply and changes nothing else in a chat, not even its place in a list. Nothing here sends
it anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgechat.history.rows import missing

if TYPE_CHECKING:
    from edgechat.history.database import Database

Rating = Literal[-1, 0, 1]
"""Thumbs down, no rating, thumbs up."""


class Feedback:
    """The feedback on every reply. Each method is one transaction; changes are on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rate(self, reply_id: int, rating: Rating, note: str | None = None) -> None:
        """Store the reader's feedback on a reply.

        Args:
            reply_id: The reply.
            rating: 0 removes an earlier one.
            note: The reader's note, "" for none; None keeps the current one.

        Raises:
            StorageError: There is no such reply, or it cannot be written.
        """
        with self._database.writing() as db:
            cursor = db.execute(
                "UPDATE reply SET rating = ?, note = COALESCE(?, note) WHERE id = ?", (rating, note, reply_id)
            )
            if not cursor.rowcount:
                raise missing("reply", reply_id)

    def chats(self) -> list[int]:
        """Return chats with feedback on any reply in any branch that is not deleted, most recently changed first.

        Raises:
            StorageError: The history cannot be read.
        """
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT c.id FROM conversation c WHERE c.deleted IS NULL AND EXISTS ("
                " SELECT 1 FROM turn t JOIN reply r ON r.turn = t.id"
                " WHERE t.conversation = c.id AND t.deleted IS NULL AND (r.rating != 0 OR r.note != '')"
                ") ORDER BY c.touched DESC"
            ).fetchall()
        return [id_ for (id_,) in rows]
