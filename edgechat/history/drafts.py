"""Messages being written, one a chat, and those that were sent before, for whoever wants one again.

A draft outlives the death of the process, not a power cut: it is written several times a sentence, and no disk has to
be flushed for it. In a history that keeps nothing, drafts are kept as long as that history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgechat.history.database import Database

SENT_LIMIT = 200
"""Messages that can be had again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message being written.

    Attributes:
        text: What stands in the composer.
        pieces: What stands folded in it, by the label that is in the text: long pastes, attached files.
    """

    text: str = ""
    pieces: Mapping[str, str] = field(default_factory=dict)


def joined(*drafts: Draft) -> Draft:
    """Several drafts as one, each below the one before it; what has a label that another uses is unfolded."""
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
    """The drafts of a history. Each method is one transaction and raises StorageError where it fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, conversation_id: int, draft: Draft) -> None:
        """Keep a chat's draft in the place of the last one; an empty one is none. Chat 0 has no message yet."""
        import json  # the first paint does without

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
        """A chat's draft; an empty one where there is none."""
        import json

        with self._database.reading() as db:
            row = db.execute("SELECT text, pieces FROM draft WHERE conversation = ?", (conversation_id,)).fetchone()
            return Draft(row[0], dict(json.loads(row[1]))) if row is not None else Draft()

    def sent(self, limit: int = SENT_LIMIT) -> list[str]:
        """The messages sent last in all chats, the newest at the end, each once."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT t.user FROM turn t JOIN conversation c ON c.id = t.conversation "
                "WHERE t.deleted IS NULL AND c.deleted IS NULL ORDER BY t.id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return list(dict.fromkeys(text for (text,) in rows))[::-1]
