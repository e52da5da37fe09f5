"""Drafts of messages, one per chat, and previously sent messages for recall.

A draft survives the death of the process but not a power cut: it is saved several times per sentence, which should not
flush the disk each time. In a history that is not stored, drafts last as long as the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgechat.history.database import Database

SENT_LIMIT = 200
"""Number of messages that can be recalled."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message being written.

    Attributes:
        text: The composer's text.
        pieces: Collapsed content (long pastes, attached files) by the label that stands for it in the text.
    """

    text: str = ""
    pieces: Mapping[str, str] = field(default_factory=dict)


def joined(*drafts: Draft) -> Draft:
    """Merge several drafts, each below the one before; content whose label is already used is expanded."""
    texts: list[str] = []
    pieces: dict[str, str] = {}
    for draft in drafts:
        text = draft.text
        for label, piece in draft.pieces.items():
            if pieces.setdefault(label, piece) != piece:
                text = text.replace(label, piece)
        if text.strip():
            texts.append(text)
    return Draft("\n".join(texts), pieces)


class Drafts:
    """The drafts of a history. Each method is one transaction and raises StorageError on failure."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, conversation_id: int, draft: Draft) -> None:
        """Save a chat's draft, replacing the last; an empty one deletes it. Chat 0 is a chat without messages."""
        import json  # not needed for the first paint

        with self._database.writing(durable=False) as db:
            if draft.text:
                db.execute(
                    "INSERT INTO draft (conversation, text, pieces) VALUES (?, ?, ?) "
                    "ON CONFLICT (conversation) DO UPDATE SET text = excluded.text, pieces = excluded.pieces",
                    (conversation_id, draft.text, json.dumps(dict(draft.pieces))),
                )
            else:
                db.execute("DELETE FROM draft WHERE conversation = ?", (conversation_id,))

    def get(self, conversation_id: int) -> Draft:
        """Return a chat's draft; an empty one if there is none."""
        import json

        with self._database.reading() as db:
            row = db.execute("SELECT text, pieces FROM draft WHERE conversation = ?", (conversation_id,)).fetchone()
            return Draft(row[0], dict(json.loads(row[1]))) if row is not None else Draft()

    def sent(self, limit: int = SENT_LIMIT) -> list[str]:
        """Return the latest messages sent in all chats, without duplicates, newest last."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT t.user FROM turn t JOIN conversation c ON c.id = t.conversation "
                "WHERE t.deleted IS NULL AND c.deleted IS NULL ORDER BY t.id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return list(dict.fromkeys(text for (text,) in rows))[::-1]
