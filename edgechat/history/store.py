"""The chat history: conversations, their turns and the replies, in one SQLite file.

The store's interface uses only the values of `chat.conversation`. Once a call has returned, its changes survive even if
the process is killed the next moment. While a reply streams, its pieces go to a journal, and its text is written once,
when it is closed; readers combine the two, so that no piece is lost or shown twice. The store never decides how a chat
continues, and raises only StorageError for problems with its file.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgechat.chat.conversation import ChatSettings, Conversation, Reply, ReplyState, Turn
from edgechat.errors import StorageError
from edgechat.history import reply_owner
from edgechat.history.backup import back_up
from edgechat.history.branches import Branches
from edgechat.history.chats import PURGE_DAYS, Chats
from edgechat.history.database import Database
from edgechat.history.drafts import Drafts
from edgechat.history.feedback import Feedback
from edgechat.history.rows import (
    REPLY_COLUMNS,
    active_path,
    fold,
    has_turn,
    live_chat,
    missing,
    reply_of,
    row_id,
    siblings_of,
    title_of,
    touch,
)
from edgechat.history.search import Search
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgechat.history.transfer.exporter import Format


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A chat as shown in lists.

    Attributes:
        id: Row id in the store.
        title: The start of the first message until it is renamed.
        model: URI or name of the model last used.
        updated: Seconds since the epoch by the clock at that time. Lists are not sorted by it.
        turns: Number of turns in all branches.
        pinned: Whether it is pinned to the top of lists.
        archived: Whether it is hidden from lists.
    """

    id: int
    title: str
    model: str
    updated: float
    turns: int
    pinned: bool = False
    archived: bool = False


class HistoryStore:
    """One user's chats. All methods are thread-safe, and each is one transaction.

    Several stores, in one process or several, may have the same file open.

    Attributes:
        branches: Active branches, and deleted turns.
        chats: Titles, pins, archive, copies and deleted chats.
        search: Full-text search.
        drafts: Messages being written.
        feedback: The reader's feedback on replies.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.branches = Branches(database)
        self.chats = Chats(database)
        self.search = Search(database)
        self.drafts = Drafts(database)
        self.feedback = Feedback(database)
        self._writing: set[int] = set()

    @classmethod
    def open(cls, path: Path) -> HistoryStore:
        """Open the history at `path`, creating folders (0700) and file (0600) if missing, and migrate its schema.

        Raises:
            StorageError: It cannot be created, read or written, is damaged, from a newer edgechat, or not a history.
        """
        return cls(Database.open(path))

    @classmethod
    def in_memory(cls) -> HistoryStore:
        """Create an empty history that is not stored and is gone when it is closed."""
        return cls(Database.in_memory())

    def create_conversation(self, *, system: str = "", model: str = "", title: str = "") -> Conversation:
        """Start a chat without turns. An empty title is replaced by the start of the first message."""
        now = time.time()
        with self._database.writing() as db:
            cursor = db.execute(
                "INSERT INTO conversation (title, system, model, created, updated, touched) VALUES (?, ?, ?, ?, ?, 0)",
                (title, system, model, now, now),
            )
            id_ = row_id(cursor)
            touch(db, id_, now)
        return Conversation(id_, title, system, model, created=now, updated=now)

    def conversation(self, id: int) -> Conversation:  # noqa: A002 - named as the field it looks up
        """Return the chat with its active path.

        A reply whose writer died is returned, and then stored, as INTERRUPTED with all of its journalled text.

        Raises:
            StorageError: There is no such chat.
        """
        dead = self._interrupt_dead(id)
        with self._database.reading() as db:
            row = db.execute(
                "SELECT id, title, system, model, created, updated, pinned, archived, "
                "temperature, top_p, repetition_penalty, seed, max_tokens "
                "FROM conversation WHERE id = ? AND deleted IS NULL",
                (id,),
            ).fetchone()
            if row is None:
                raise missing("chat", id)
            turns = active_path(db, id, dead)
        id_, title, system, model, created, updated, pinned, archived, *settings = row
        return Conversation(
            id_, title, system, model, turns, created, updated, bool(pinned), bool(archived), ChatSettings(*settings)
        )

    def latest(self) -> Conversation | None:
        """Return the most recently changed chat that is neither archived nor deleted; None if there is none."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT id FROM conversation WHERE deleted IS NULL AND NOT archived ORDER BY touched DESC LIMIT 1"
            ).fetchone()
        return self.conversation(row[0]) if row is not None else None

    def list_conversations(self, limit: int = 100, *, archived: bool = False) -> list[ConversationSummary]:
        """List the chats, pinned ones first, then by latest change in the actual order, whatever the clock said.

        Args:
            limit: Maximum number of results.
            archived: Whether to return archived chats instead of the others.
        """
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, title, model, updated, "
                "(SELECT COUNT(*) FROM turn WHERE conversation = c.id AND deleted IS NULL), pinned, archived "
                "FROM conversation c WHERE deleted IS NULL AND archived = ? "
                "ORDER BY pinned DESC, touched DESC LIMIT ?",
                (archived, limit),
            ).fetchall()
        return [ConversationSummary(*row[:5], *map(bool, row[5:])) for row in rows]

    def add_turn(self, conversation_id: int, parent: int | None, user: str) -> Turn:
        """Store a user message on disk before returning, and make it the end of the active path.

        Args:
            conversation_id: The chat.
            parent: The turn it follows; None for a first turn.
            user: The exact message.

        Raises:
            StorageError: It could not be stored, or there is no such chat or parent in that chat.
        """
        now = time.time()
        with self._database.writing() as db:
            live_chat(db, conversation_id)
            if parent is not None and not has_turn(db, parent, conversation_id):
                raise missing("turn", parent)
            cursor = db.execute(
                "INSERT INTO turn (conversation, parent, user, created, follows) "
                "VALUES (?, ?, ?, ?, (SELECT active FROM turn WHERE id = ?))",
                (conversation_id, parent, user, now, parent),
            )
            id_ = row_id(cursor)
            db.execute(
                "UPDATE conversation SET leaf = ?, title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ?",
                (id_, title_of(user), conversation_id),
            )
            touch(db, conversation_id, now)
            siblings = siblings_of(db, conversation_id, parent)
        return Turn(id_, parent, user, now, siblings=siblings)

    @cached_property
    def _signature(self) -> str:
        """Return this process's signature for replies; computed for the first one, not at startup."""
        return reply_owner.this_process()

    def add_reply(self, turn_id: int, model: str = "") -> Reply:
        """Start a reply, STREAMING and written by this process; it becomes the active one of its turn.

        Raises:
            StorageError: It could not be stored, or there is no such turn.
        """
        now = time.time()
        with self._database.writing(durable=False) as db:
            turn = db.execute("SELECT conversation FROM turn WHERE id = ?", (turn_id,)).fetchone()
            if turn is None:
                raise missing("turn", turn_id)
            cursor = db.execute(
                "INSERT INTO reply (turn, state, model, created, writer) VALUES (?, ?, ?, ?, ?)",
                (turn_id, ReplyState.STREAMING, model, now, self._signature),
            )
            id_ = row_id(cursor)
            db.execute("UPDATE turn SET active = ? WHERE id = ?", (id_, turn_id))
            db.execute("UPDATE conversation SET model = ? WHERE id = ? AND ? != ''", (model, turn[0], model))
            touch(db, turn[0], now)
        self._writing.add(id_)
        return Reply(id_, model=model)

    def resume_reply(self, reply_id: int) -> Reply:
        """Continue a finished reply: it is STREAMING again and written by this process, and keeps its text.

        Raises:
            StorageError: It could not be stored, there is no such reply, or it is being written.
        """
        with self._database.writing(durable=False) as db:
            row = db.execute(
                "SELECT t.conversation, r.state, r.writer FROM reply r JOIN turn t ON t.id = r.turn WHERE r.id = ?",
                (reply_id,),
            ).fetchone()
            if row is None:
                raise missing("reply", reply_id)
            if row[1] == ReplyState.STREAMING and reply_owner.is_alive(row[2]):
                raise StorageError(
                    "Reply is being written", "Another window of edgechat is writing it.", "Wait, or stop it there."
                )
            fold(db, reply_id, None)
            db.execute(
                "UPDATE reply SET state = ?, writer = ?, error = '' WHERE id = ?",
                (ReplyState.STREAMING, self._signature, reply_id),
            )
            touch(db, row[0], time.time())
            reply = reply_of(db.execute(f"SELECT {REPLY_COLUMNS} FROM reply r WHERE id = ?", (reply_id,)).fetchone())  # noqa: S608
        self._writing.add(reply_id)
        return reply

    def append_text(self, reply_id: int, text: str) -> None:
        """Journal a piece of a reply that this process is writing. The cost does not depend on the reply's length.

        Raises:
            StorageError: It could not be stored, or the reply is closed or not written by this process.
        """
        with self._database.writing(durable=False) as db:
            # Checks the writer rather than the state: should another process ever take this one for dead and mark the
            # reply as interrupted, its text still continues, and closing it corrects the state.
            cursor = db.execute(
                "INSERT INTO fragment (reply, n, text) "
                "SELECT id, (SELECT COALESCE(MAX(n), 0) + 1 FROM fragment WHERE reply = :reply), :text "
                "FROM reply WHERE id = :reply AND writer = :me",
                {"reply": reply_id, "text": text, "me": self._signature},
            )
            if not cursor.rowcount:
                raise StorageError(
                    "Reply is closed",
                    Sentence("Nothing can be added to reply {reply_id}.", reply_id=reply_id),
                    "Ask for another reply.",
                )

    def close_reply(
        self,
        reply_id: int,
        state: ReplyState,
        *,
        text: str | None = None,
        prompt_tokens: int = 0,
        cached_tokens: int = 0,
        completion_tokens: int = 0,
        ttft: float | None = None,
        seconds: float = 0.0,
        error: str = "",
    ) -> Reply:
        """Finish a reply, on disk before returning. Closing it again overwrites the previous values.

        Args:
            reply_id: The reply.
            state: How it ended; anything but STREAMING.
            text: The full text; None for the journalled text.
            prompt_tokens: See `Reply`, like the following arguments.
            cached_tokens: See `Reply`.
            completion_tokens: See `Reply`.
            ttft: Seconds to the first text.
            seconds: Seconds of decoding.
            error: A description of the failure.

        Raises:
            StorageError: It could not be stored, or there is no such reply.
        """
        if state is ReplyState.STREAMING:
            raise ValueError(state)
        with self._database.writing() as db:
            row = db.execute(
                "SELECT t.conversation FROM reply r JOIN turn t ON t.id = r.turn WHERE r.id = ?", (reply_id,)
            ).fetchone()
            if row is None:
                raise missing("reply", reply_id)
            fold(db, reply_id, text)
            db.execute(
                "UPDATE reply SET state = ?, prompt_tokens = ?, cached_tokens = ?, completion_tokens = ?, ttft = ?, "
                "seconds = ?, error = ?, writer = NULL WHERE id = ?",
                (state, prompt_tokens, cached_tokens, completion_tokens, ttft, seconds, error, reply_id),
            )
            touch(db, row[0], time.time())
            closed = reply_of(db.execute(f"SELECT {REPLY_COLUMNS} FROM reply r WHERE id = ?", (reply_id,)).fetchone())  # noqa: S608
        self._writing.discard(reply_id)
        return closed

    def export(self, conversation_id: int, form: Format) -> str:
        """Return one chat as text; empty if there is none with that id. See `transfer.exporter.export`."""
        from edgechat.history.transfer.exporter import export  # not needed for chatting

        return "".join(export(self._database, [conversation_id], form))

    def housekeep(self) -> None:
        """Do what can wait: today's backup, purging old deletions, closing the replies of dead processes.

        A reply whose writer was killed is found by search only once it is closed.

        Raises:
            StorageError: The backup could not be made; nothing else was done.
        """
        if self._database.path.name == ":memory:":
            return
        back_up(self._database.path, self._database)
        self.chats.purge(PURGE_DAYS)
        self._interrupt_dead()

    def close(self) -> None:
        """Close the file; repeated calls do nothing. Replies this store has not closed become INTERRUPTED."""
        left, self._writing = self._writing, set()
        if left:
            # If this fails, the next process to open the chat does it, since this one will be gone by then.
            with suppress(StorageError):
                self._interrupt(left)
        self._database.close()

    def _interrupt_dead(self, conversation_id: int | None = None) -> frozenset[int]:
        """Mark the streaming replies of dead writers as interrupted, in one chat or all, and return their ids."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT r.id, r.writer FROM reply r JOIN turn t ON t.id = r.turn "
                "WHERE r.state = 'streaming' AND (:chat IS NULL OR t.conversation = :chat)",
                {"chat": conversation_id},
            ).fetchall()
        dead = frozenset(id_ for id_, signed in rows if not reply_owner.is_alive(signed))
        if dead:
            # On a full disk an old chat must still open; the replies are then marked another time.
            with suppress(StorageError):
                self._interrupt(dead)
        return dead

    def _interrupt(self, replies: Iterable[int]) -> None:
        with self._database.writing() as db:
            for id_ in replies:
                fold(db, id_, None)
                # Keep the writer: should it be alive after all, it may continue.
                db.execute(
                    "UPDATE reply SET state = ? WHERE id = ? AND state = ?",
                    (ReplyState.INTERRUPTED, id_, ReplyState.STREAMING),
                )
