"""Defines what counts as damage to a history's file, and examines files for it.

Only this module distinguishes damage from other failures. Opening a file checks little, because users would have to
wait; whoever encounters damage later marks the file as suspect, and the next opening examines all of it. Nothing here
changes the file or the log next to it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import time
from contextlib import closing, suppress
from io import SEEK_CUR
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.chat.conversation import ReplyState
from edgechat.errors import DamagedError, StorageError
from edgechat.history import migrations
from edgechat.history.connection import connect_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPANIONS = ("", "-journal", "-wal", "-shm")
"""Suffixes of the files that make up a history; SQLite keeps the later ones next to the first."""

_READ_ERRORS = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)

_CERTAIN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)

_POSSIBLE = (
    sqlite3.SQLITE_ERROR,  # a table or a column has disappeared
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_INTERNAL,
    sqlite3.SQLITE_RANGE,
)

_OF_VALUES = (ValueError, TypeError, LookupError, OverflowError)
"""Raised for values edgechat cannot have written: text that is not UTF-8, a number instead of text."""

MOST_VERSIONS = 1000
"""More schema migrations than any edgechat will ever have."""

_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = 0x377F0682  # plus one if the checksums are over big-endian words


def is_certain(error: BaseException) -> bool:
    """Whether an error can only come from a damaged file."""
    if isinstance(error, sqlite3.Error):
        code = _code(error)
        return code & 0xFF in _CERTAIN or code in _READ_ERRORS or _is_undecoded(error)
    return isinstance(error, _OF_VALUES)


def is_possible(error: BaseException) -> bool:
    """Whether an error may come from a damaged file, which then has to be examined."""
    if isinstance(error, sqlite3.Error) and _code(error) & 0xFF in _POSSIBLE:
        return True
    return is_certain(error)


def describe(error: BaseException) -> str:
    """Describe the damage from an error, without any chat text."""
    if isinstance(error, UnicodeError) or _is_undecoded(error):
        return "a text in it is not UTF-8"
    return " ".join(str(error).split()) or type(error).__name__


def _is_undecoded(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode")


def _code(error: sqlite3.Error) -> int:
    # Errors of the module itself, such as for a text that is not UTF-8, carry no code.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def suspect_path(path: Path) -> Path:
    """The empty file beside a history that asks the next opening to examine it."""
    return Path(f"{path}-suspect")


def mark_suspect(path: Path) -> None:
    """Have the next opening examine the file, if that can be written down."""
    with suppress(OSError):
        suspect_path(path).touch(mode=0o600)


def wrong_kind(path: Path) -> str:
    """Return what is wrong with the types of a history's files; empty if nothing. Opens none of them."""
    for end in COMPANIONS:
        file = Path(f"{path}{end}")
        with suppress(OSError):
            mode = file.stat().st_mode
            if stat.S_ISDIR(mode):
                return f"{file.name} is a folder, not a file"
            if not stat.S_ISREG(mode):
                return f"{file.name} is not a file"
    return ""


def damage(path: Path, *, rows: bool = True) -> str:
    """Examine a history completely.

    Args:
        path: The file, which another process may have open.
        rows: Whether to read every row and the search index too; otherwise SQLite only checks its own structures.

    Returns:
        What is wrong, for people; empty if it is sound, or a sound file of a newer edgechat.

    Raises:
        StorageError: The file cannot be examined: no permission, no memory, locked by another program.
    """
    if words := wrong_kind(path) or log_damage(path):
        return words
    try:
        with closing(connect_to_read(path)) as db:
            return next(_faults(db, path, rows), "")
    except (sqlite3.Error, *_OF_VALUES) as error:
        if not is_possible(error):
            from edgechat.history.database import translate_sqlite_error

            raise translate_sqlite_error(path, error) from error
        return describe(error)


def _faults(db: sqlite3.Connection, path: Path, rows: bool) -> Iterator[str]:
    db.execute("BEGIN")  # a consistent snapshot, whoever is writing
    try:
        taken = migrations.version(db, path)
    except DamagedError as error:
        yield error.message
        return
    except StorageError:  # from a newer edgechat, whose schema is unknown here
        if wrong := header_damage(db):
            yield wrong
        return
    if wrong := _schema_damage(db, taken):
        yield wrong
    for (found,) in db.execute("PRAGMA integrity_check (1)" if rows else "PRAGMA quick_check (1)"):
        if found != "ok":
            yield " ".join(str(found).split())
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that is not there"
    if rows:
        yield from _row_faults(db)
        yield from _index_faults(db)


def header_damage(db: sqlite3.Connection) -> str:
    """Return what is wrong with a header that names a newer version; empty if it is plausible.

    Every newer edgechat has changed the schema, so if the schema is a known one, the number is wrong.
    """
    (taken,) = db.execute("PRAGMA user_version").fetchone()
    steps = range(1, len(migrations.MIGRATIONS) + 1)
    if taken > MOST_VERSIONS or migrations.schema_of(db) in map(_schema, steps):
        return f"its header says version {taken}, which its tables are not of"
    return ""


def schema_damage(db: sqlite3.Connection) -> str:
    """Return what the schema lacks compared with the current one; empty if nothing. Quick for an intact schema."""
    if migrations.sum_of(migrations.schema_of(db)) == migrations.SCHEMA_SUM:
        return ""
    return _schema_damage(db, len(migrations.MIGRATIONS))


def _schema_damage(db: sqlite3.Connection, version: int) -> str:
    """Compare the schema with the one the first migrations create; empty if everything is as created."""
    there = migrations.schema_of(db)
    for name, sql in _schema(version).items():
        if there.get(name) != sql:
            return f"{name} is not in its schema as it was made"
    return ""


def _schema(version: int) -> dict[str, str]:
    from edgechat.history import search

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        search.register(db)
        migrations.migrate(db, Path(":memory:"), version)
        return migrations.schema_of(db)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "TEXT": str,
    "INTEGER": int,
    "REAL": (float, int),
}


def _row_faults(db: sqlite3.Connection) -> Iterator[str]:
    """Check that every value has its column's type; texts are decoded as they are read."""
    states = set(ReplyState)
    # SQLite does not check this for files opened read-only.
    if db.execute("SELECT EXISTS (SELECT 1 FROM turn WHERE parent >= id)").fetchone()[0]:
        yield "a turn follows a later one"
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    for table in sorted(tables & {"conversation", "turn", "reply", "fragment", "draft", "sent", "clock"}):
        columns = [
            (name, _TYPES.get(kind.upper(), object), bool(filled or key))
            for _, name, kind, filled, _, key in db.execute(f"PRAGMA table_info({table})")
        ]
        for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a table of ours
            for (name, kind, filled), value in zip(columns, row, strict=True):
                if not isinstance(value, kind) if value is not None else filled:
                    yield f"{name} of a row of {table} is of a wrong kind"
                if name == "state" and value not in states:
                    yield f"{name} of a row of {table} is none that there is"


def _index_faults(db: sqlite3.Connection) -> Iterator[str]:
    """Read the search indexes to the end; their content cannot be compared, since they store no text."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    for name in ("words", "titles"):
        if name in tables:
            db.execute(f"CREATE VIRTUAL TABLE temp.read_{name} USING fts5vocab (main, {name}, instance)")
            for _ in db.execute(f"SELECT doc FROM temp.read_{name}"):  # noqa: S608 - as above
                pass
    yield from ()


def log_damage(path: Path) -> str:
    """Whether the log next to the file has lost whole transactions; empty if not. Verifies every checksum.

    SQLite reads its write-ahead log up to the first wrong checksum and silently drops the rest. That is meant for the
    last transaction before a power cut; a complete transaction after the wrong checksum shows more was lost.
    """
    log = Path(f"{path}-wal")
    previous = b""
    for wait in (0.0, 0.05):  # another process may be writing it: then it looks different a moment later
        time.sleep(wait)
        try:
            data = log.read_bytes()  # SQLite locks the file and its index, never the log: closing this drops no lock
        except OSError:
            return ""
        header = data[:_WAL_HEADER]
        if not _loses_transactions(data) or (wait and header != previous):
            return ""
        previous = header
    return f"its log {log.name} is damaged, and what was said last may be missing"


def log_header_damage(path: Path) -> str:
    """Whether SQLite would ignore an existing log and overwrite it; empty if not."""
    try:
        with Path(f"{path}-wal").open("rb") as log:
            header = log.read(_WAL_HEADER + _FRAME_HEADER)
    except OSError:
        return ""
    whole = len(header) == _WAL_HEADER + _FRAME_HEADER
    return log_damage(path) if whole and _page_size(header[:_WAL_HEADER]) == 0 else ""


def completed(path: Path) -> int:
    """Return the number of the last frame in the log that completes a transaction, going by the frames alone."""
    last = 0
    try:
        with Path(f"{path}-wal").open("rb") as log:
            header = log.read(_WAL_HEADER)
            size = _page_size(header)
            number = 0
            while size and len(frame := log.read(_FRAME_HEADER)) == _FRAME_HEADER and frame[8:16] == header[16:24]:
                number += 1
                if frame[4:8] != b"\0\0\0\0":  # the database size, set only in the last frame of a transaction
                    last = number
                log.seek(size, SEEK_CUR)
            if log.tell() > os.fstat(log.fileno()).st_size:
                last = min(last, number - 1)  # the last one was truncated
    except OSError:
        return 0
    return last


def _page_size(header: bytes) -> int:
    """Return the page size of the log with this header; 0 if SQLite would reject the header."""
    if len(header) < _WAL_HEADER:
        return 0
    magic, _, size, _, _, _, *sums = struct.unpack(">8I", header)
    size = 65536 if size == 1 else size
    wrong = magic & ~1 != _WAL_MAGIC or size < 512 or size & (size - 1)
    return 0 if wrong or _sums(_order(header), header[:24], (0, 0)) != tuple(sums) else size


def _order(header: bytes) -> str:
    return ">" if header[3] & 1 else "<"


def _loses_transactions(data: bytes) -> bool:
    """Whether a transaction ends in a log after a wrong checksum."""
    header = data[:_WAL_HEADER]
    size = _page_size(header)
    if not size:
        return len(data) > _WAL_HEADER + _FRAME_HEADER + 512
    first, second = struct.unpack(">2I", header[24:])
    state: tuple[int, int] | None = (first, second)
    for at in range(_WAL_HEADER, len(data) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        frame = data[at : at + _FRAME_HEADER + size]
        same = frame[8:16] == header[16:24]
        if state is not None and same:
            state = _sums(_order(header), frame[_FRAME_HEADER:], _sums(_order(header), frame[:8], state))
            if state == struct.unpack(">2I", frame[16:24]):
                continue
        state = None
        if same and frame[4:8] != b"\0\0\0\0":
            return True
    return False


def _sums(order: str, data: bytes, state: tuple[int, int]) -> tuple[int, int]:
    """Compute SQLite's log checksums, in which each frame continues from the one before."""
    first, second = state
    for one, other in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
