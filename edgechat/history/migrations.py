"""The schema of the history, as a list of migrations.

A file on a user's disk may be at any version; opening it applies the missing migrations, all or none. The list is
append-only: a released migration is never edited, renamed or reordered, because files exist to which it was applied as
it was. `PRAGMA user_version` counts the migrations applied; `application_id` identifies the file as a history.

Every migration changes some table: this distinguishes a newer file from one with a damaged header. Nothing here may
    touch
a file that is newer than this edgechat, or that is not a history at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgechat.errors import DamagedError, StorageError
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from pathlib import Path

APPLICATION_ID = 0x65646368
"""The letters "edch", in the header of every history file."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration of the schema.

    Attributes:
        name: What it adds, for people; never changed.
        statements: SQL, run in order within one transaction.
    """

    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "chats as trees of turns",
        (
            # AUTOINCREMENT: the id of a deleted row must not be reused while another window still shows that row.
            # `touched` increases with every change to any chat; unlike `updated` it does not depend on a clock. `leaf`
            # is the last turn of the active path.
            """
            CREATE TABLE conversation (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                title TEXT NOT NULL,
                system TEXT NOT NULL,
                model TEXT NOT NULL,
                created REAL NOT NULL,
                updated REAL NOT NULL,
                touched INTEGER NOT NULL,
                leaf INTEGER REFERENCES turn (id)
            )
            """,
            "CREATE INDEX conversation_touched ON conversation (touched)",
            # `parent < id` makes every walk to the root terminate, and id the order of a path. `active` is the reply
            # that is shown.
            """
            CREATE TABLE turn (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                conversation INTEGER NOT NULL REFERENCES conversation (id),
                parent INTEGER REFERENCES turn (id) CHECK (parent < id),
                user TEXT NOT NULL,
                created REAL NOT NULL,
                active INTEGER REFERENCES reply (id)
            )
            """,
            "CREATE INDEX turn_conversation ON turn (conversation)",
            # `writer` names the process that is writing the reply, until the reply is closed.
            """
            CREATE TABLE reply (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                turn INTEGER NOT NULL REFERENCES turn (id),
                text TEXT NOT NULL DEFAULT '',
                state TEXT NOT NULL,
                model TEXT NOT NULL,
                prompt_tokens INTEGER NOT NULL DEFAULT 0,
                cached_tokens INTEGER NOT NULL DEFAULT 0,
                completion_tokens INTEGER NOT NULL DEFAULT 0,
                ttft REAL,
                seconds REAL NOT NULL DEFAULT 0,
                error TEXT NOT NULL DEFAULT '',
                created REAL NOT NULL,
                writer TEXT
            )
            """,
            "CREATE INDEX reply_turn ON reply (turn)",
            # The journal: text appended to `reply.text` since it was last written in full.
            """
            CREATE TABLE fragment (
                reply INTEGER NOT NULL REFERENCES reply (id),
                n INTEGER NOT NULL,
                text TEXT NOT NULL,
                PRIMARY KEY (reply, n)
            ) WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        "branches, the shelf and the index of words",
        (
            # `deleted` is the time of deletion in seconds since the epoch, or NULL. Deleted rows remain until they are
            # purged, so that they can be restored.
            "ALTER TABLE conversation ADD COLUMN deleted REAL",
            "ALTER TABLE conversation ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE conversation ADD COLUMN archived INTEGER NOT NULL DEFAULT 0",
            # NULL follows the user's settings.
            "ALTER TABLE conversation ADD COLUMN temperature REAL",
            "ALTER TABLE conversation ADD COLUMN top_p REAL",
            "ALTER TABLE conversation ADD COLUMN repetition_penalty REAL",
            "ALTER TABLE conversation ADD COLUMN seed INTEGER",
            "ALTER TABLE conversation ADD COLUMN max_tokens INTEGER",
            "ALTER TABLE turn ADD COLUMN deleted REAL",
            "ALTER TABLE turn ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX conversation_shelf ON conversation (archived, pinned, touched) WHERE deleted IS NULL",
            "CREATE INDEX conversation_deleted ON conversation (deleted) WHERE deleted IS NOT NULL",
            "CREATE INDEX turn_parent ON turn (parent)",
            "CREATE INDEX turn_deleted ON turn (deleted) WHERE deleted IS NOT NULL",
            "CREATE INDEX reply_streaming ON reply (id) WHERE state = 'streaming'",
            # The search index, maintained by triggers. It stores no text of its own (`content=''`), so removing a row
            # requires the original text again. `searchable` is `history.search.searchable`. Row 2n is the message of
            # turn n, row 2n + 1 the text of reply n. A reply is indexed when its text is written in full, not while it
            # is journalled.
            """
            CREATE VIRTUAL TABLE words USING fts5 (
                body, content='', tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
            )
            """,
            """
            CREATE TRIGGER turn_words_in AFTER INSERT ON turn BEGIN
                INSERT INTO words (rowid, body) VALUES (new.id * 2, searchable(new.user));
            END
            """,
            """
            CREATE TRIGGER turn_words_out AFTER DELETE ON turn BEGIN
                INSERT INTO words (words, rowid, body) VALUES ('delete', old.id * 2, searchable(old.user));
            END
            """,
            """
            CREATE TRIGGER turn_words_changed AFTER UPDATE OF user ON turn BEGIN
                INSERT INTO words (words, rowid, body) VALUES ('delete', old.id * 2, searchable(old.user));
                INSERT INTO words (rowid, body) VALUES (new.id * 2, searchable(new.user));
            END
            """,
            """
            CREATE TRIGGER reply_words_in AFTER INSERT ON reply WHEN new.text != '' BEGIN
                INSERT INTO words (rowid, body) VALUES (new.id * 2 + 1, searchable(new.text));
            END
            """,
            """
            CREATE TRIGGER reply_words_out AFTER DELETE ON reply WHEN old.text != '' BEGIN
                INSERT INTO words (words, rowid, body) VALUES ('delete', old.id * 2 + 1, searchable(old.text));
            END
            """,
            """
            CREATE TRIGGER reply_words_changed AFTER UPDATE OF text ON reply WHEN old.text != new.text BEGIN
                INSERT INTO words (words, rowid, body)
                SELECT 'delete', old.id * 2 + 1, searchable(old.text) WHERE old.text != '';
                INSERT INTO words (rowid, body) SELECT new.id * 2 + 1, searchable(new.text) WHERE new.text != '';
            END
            """,
            "INSERT INTO words (rowid, body) SELECT id * 2, searchable(user) FROM turn",
            "INSERT INTO words (rowid, body) SELECT id * 2 + 1, searchable(text) FROM reply WHERE text != ''",
        ),
    ),
    Migration(
        "feedback on replies",
        (
            # 1 good, -1 bad, 0 no rating; and the reader's note.
            "ALTER TABLE reply ADD COLUMN rating INTEGER NOT NULL DEFAULT 0 CHECK (rating IN (-1, 0, 1))",
            "ALTER TABLE reply ADD COLUMN note TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX reply_feedback ON reply (turn) WHERE rating != 0 OR note != ''",
        ),
    ),
    Migration(
        "windows kept with the turns",
        (
            # See `chat.conversation.Window`; `window_upto` is an earlier turn, or NULL. It is not declared as a foreign
            # key, which would search every turn when one is purged.
            "ALTER TABLE turn ADD COLUMN window_upto INTEGER",
            "ALTER TABLE turn ADD COLUMN window_summary TEXT",
            "ALTER TABLE turn ADD COLUMN window_context INTEGER",
        ),
    ),
    Migration(
        "titles are searched",
        (
            # Like `words`, and maintained in the same way; the row is the chat.
            """
            CREATE VIRTUAL TABLE titles USING fts5 (
                body, content='', tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
            )
            """,
            """
            CREATE TRIGGER titles_in AFTER INSERT ON conversation WHEN new.title != '' BEGIN
                INSERT INTO titles (rowid, body) VALUES (new.id, searchable(new.title));
            END
            """,
            """
            CREATE TRIGGER titles_out AFTER DELETE ON conversation WHEN old.title != '' BEGIN
                INSERT INTO titles (titles, rowid, body) VALUES ('delete', old.id, searchable(old.title));
            END
            """,
            """
            CREATE TRIGGER titles_changed AFTER UPDATE OF title ON conversation WHEN old.title != new.title BEGIN
                INSERT INTO titles (titles, rowid, body)
                SELECT 'delete', old.id, searchable(old.title) WHERE old.title != '';
                INSERT INTO titles (rowid, body) SELECT new.id, searchable(new.title) WHERE new.title != '';
            END
            """,
            "INSERT INTO titles (rowid, body) SELECT id, searchable(title) FROM conversation WHERE title != ''",
        ),
    ),
    Migration(
        "what was sent to servers",
        (
            # See `history.sync_state`: only names and digests, so that no chat content survives its purge here.
            """
            CREATE TABLE sent (
                server TEXT NOT NULL,
                experiment TEXT NOT NULL,
                thing TEXT NOT NULL,
                made TEXT NOT NULL,
                digest TEXT NOT NULL,
                PRIMARY KEY (server, experiment, thing)
            ) WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        "messages being written",
        (
            # Chat 0 is a chat without messages. `pieces` is JSON: collapsed content by its label in the text.
            """
            CREATE TABLE draft (
                conversation INTEGER PRIMARY KEY,
                text TEXT NOT NULL,
                pieces TEXT NOT NULL
            )
            """,
            """
            CREATE TRIGGER draft_out AFTER DELETE ON conversation BEGIN
                DELETE FROM draft WHERE conversation = old.id;
            END
            """,
        ),
    ),
    Migration(
        "time as it was lived through",
        (
            # See `history.clock`. From here on `deleted` uses this time, and the age of earlier deletions restarts.
            """
            CREATE TABLE clock (
                id INTEGER PRIMARY KEY CHECK (id = 1),
                seen REAL,
                last REAL,
                lived REAL NOT NULL
            )
            """,
            """
            INSERT INTO clock (id, lived)
            SELECT 1, 0.001 * (1 + (SELECT COUNT(*) FROM turn WHERE deleted IS NOT NULL)
                                 + (SELECT COUNT(*) FROM conversation WHERE deleted IS NOT NULL))
            """,
            """
            UPDATE turn SET deleted = 0.001 * later.place FROM (
                SELECT id, DENSE_RANK() OVER (ORDER BY deleted) AS place FROM turn WHERE deleted IS NOT NULL
            ) AS later WHERE later.id = turn.id
            """,
            """
            UPDATE conversation SET deleted = 0.001 * later.place FROM (
                SELECT id, DENSE_RANK() OVER (ORDER BY deleted) AS place FROM conversation WHERE deleted IS NOT NULL
            ) AS later WHERE later.id = conversation.id
            """,
        ),
    ),
    Migration(
        "which reply a message follows",
        (
            # The previous turn's reply that was active when the message was sent; NULL if unknown. Not a foreign key,
            # like `window_upto`. For older messages it is the newest one from before their own replies.
            "ALTER TABLE turn ADD COLUMN follows INTEGER",
            """
            UPDATE turn SET follows = (
                SELECT MAX(before.id) FROM reply before WHERE before.turn = turn.parent
                AND before.id < (SELECT MIN(own.id) FROM reply own WHERE own.turn = turn.id)
            ) WHERE parent IS NOT NULL
            """,
        ),
    ),
)


SCHEMA_SUM = 2801537228
"""The `sum_of` the complete schema, for checking it quickly at opening."""

_SHADOWS = [f"{index}_{kind}" for index in ("words", "titles") for kind in ("config", "data", "docsize", "idx")]
"""Tables that implement a search index; their form depends on the SQLite version that created them."""


def schema_of(db: sqlite3.Connection) -> dict[str, str]:
    """Return the tables, indexes and triggers by name, normalised for spaces and case."""
    rows: Iterable[tuple[str, str | None]] = db.execute("SELECT name, sql FROM sqlite_master")
    return {
        name: "" if name in _SHADOWS or sql is None else "".join(sql.split()).lower()
        for name, sql in rows
        if not name.startswith("sqlite_")
    }


def sum_of(schema: dict[str, str]) -> int:
    """Return a checksum of a schema, ignoring tables added by others."""
    import zlib

    return zlib.crc32("\n".join(f"{name} {sql}" for name, sql in sorted(schema.items())).encode())


def version(db: sqlite3.Connection, path: Path) -> int:
    """Return the number of migrations applied to the file; 0 for an empty one. Only reads.

    Raises:
        DamagedError: The file is another program's database, or its header contradicts its content.
        StorageError: The file is from a newer edgechat.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (taken,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if application != APPLICATION_ID and (application or taken or tables):
        raise DamagedError(
            "Not a chat history",
            Sentence("{path} is a database of another program; it was left as it is.", path=path),
            "Move that file away, or set EDGECHAT_HOME to another folder.",
        )
    if bool(taken) != bool(tables) or taken < 0 or (not tables and pages > 1):
        raise DamagedError(
            "Chat history is damaged",
            Sentence(
                "{path} has version {taken} in its header, and tables: {tables}.", path=path, taken=taken, tables=tables
            ),
            "Start edgechat again: it sets the file aside, and the newest backup takes its place.",
        )
    if taken > len(MIGRATIONS):
        raise StorageError(
            "Chat history is from a newer edgechat",
            Sentence(
                "{path} has version {taken}, and this edgechat knows versions up to {migrations}. Nothing in it "
                "was changed.",
                path=path,
                taken=taken,
                migrations=len(MIGRATIONS),
            ),
            "Start the newer edgechat, or set EDGECHAT_HOME to another folder to chat with this one.",
        )
    return int(taken)


def migrate(db: sqlite3.Connection, path: Path, upto: int | None = None) -> None:
    """Apply the missing migrations. The caller holds a write transaction, so that all are applied or none.

    Args:
        db: The open file.
        path: Its name, for messages.
        upto: The number of migrations to apply; None for all.

    Raises:
        StorageError: See `version`.
    """
    steps = MIGRATIONS[:upto]
    for migration in steps[version(db, path) :]:
        for statement in migration.statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(steps)}")
