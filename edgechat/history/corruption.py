"""What counts as damage to a history's file, and the examination that looks for it.

This is the one place that tells damage from everything else that can go wrong. The opening of the file looks at little,
because nobody may wait for more; whoever meets damage later marks the file as suspect, and the next opening examines
all of it. Nothing here changes the file or the log beside it.
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
"""The ends of the names of the files that make up a history; SQLite keeps the later ones beside the first."""

_READ_ERRORS = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)

_CERTAIN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)

_POSSIBLE = (
    sqlite3.SQLITE_ERROR,  # a table or a column that is not there any more
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_INTERNAL,
    sqlite3.SQLITE_RANGE,
)

_OF_VALUES = (ValueError, TypeError, LookupError, OverflowError)
"""What a value raises that cannot have been written here: a text that is not UTF-8, a number in place of a text."""

MOST_VERSIONS = 1000
"""No edgechat will ever have more steps of the schema."""

_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = 0x377F0682  # and the same plus one, where the sums were made of big-endian words


def is_certain(error: BaseException) -> bool:
    """Whether an error can only come from a damaged file."""
    if isinstance(error, sqlite3.Error):
        code = _code(error)
        return code & 0xFF in _CERTAIN or code in _READ_ERRORS or _is_undecoded(error)
    return isinstance(error, _OF_VALUES)


def is_possible(error: BaseException) -> bool:
    """Whether an error may come from a damaged file, so that the file has to be examined."""
    if isinstance(error, sqlite3.Error) and _code(error) & 0xFF in _POSSIBLE:
        return True
    return is_certain(error)


def words_of(error: BaseException) -> str:
    """What an error says of the damage, without any text of a chat."""
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
    """What is wrong with the kinds of the files a history consists of; empty for nothing. Nothing is opened."""
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
    """Examine a history from end to end.

    Args:
        path: The file, also one that another edgechat has open.
        rows: Whether to read every row and the search index as well; without, SQLite checks its own structures.

    Returns:
        What is wrong, for people; empty if it is sound, or the sound file of a newer edgechat.

    Raises:
        StorageError: The file cannot be examined: no rights, no memory, locked by another program.
    """
    if words := wrong_kind(path) or log_damage(path):
        return words
    try:
        with closing(connect_to_read(path)) as db:
            return next(_faults(db, path, rows), "")
    except (sqlite3.Error, *_OF_VALUES) as error:
        if not is_possible(error):
            from edgechat.history.database import sqlite_in_words

            raise sqlite_in_words(path, error) from error
        return words_of(error)


def _faults(db: sqlite3.Connection, path: Path, rows: bool) -> Iterator[str]:
    db.execute("BEGIN")  # one state of the file, whoever is writing it
    try:
        taken = migrations.version(db, path)
    except DamagedError as error:
        yield error.message
        return
    except StorageError:  # of a newer edgechat, whose schema nobody here knows
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
    """What is wrong with a header that names a newer version; empty where it is to be believed.

    Every newer edgechat has changed the schema: where it is one of those known here, the number is wrong.
    """
    (taken,) = db.execute("PRAGMA user_version").fetchone()
    steps = range(1, len(migrations.MIGRATIONS) + 1)
    if taken > MOST_VERSIONS or migrations.schema_of(db) in map(_schema, steps):
        return f"its header says version {taken}, which its tables are not of"
    return ""


def schema_damage(db: sqlite3.Connection) -> str:
    """What the schema lacks of the newest one; empty for nothing. What is as it should be is seen in no time."""
    if migrations.sum_of(migrations.schema_of(db)) == migrations.SCHEMA_SUM:
        return ""
    return _schema_damage(db, len(migrations.MIGRATIONS))


def _schema_damage(db: sqlite3.Connection, version: int) -> str:
    """Compare the schema with the one that the first steps make; empty if everything is there as it was made."""
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
    """Every value is of the type its column says; texts are decoded as they are read."""
    states = set(ReplyState)
    # What SQLite does not look at where a file is opened for reading only.
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
    """Read the indexes of words to their ends; what they hold cannot be compared, for they keep no text."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    for name in ("words", "titles"):
        if name in tables:
            db.execute(f"CREATE VIRTUAL TABLE temp.read_{name} USING fts5vocab (main, {name}, instance)")
            for _ in db.execute(f"SELECT doc FROM temp.read_{name}"):  # noqa: S608 - as above
                pass
    yield from ()


def log_damage(path: Path) -> str:
    """Whether the log beside the file has lost whole transactions; empty if not. Every byte of it is summed up.

    SQLite reads its write-ahead log as far as the sums are right, and drops the rest without a word. That is meant for
    the last transaction before a power cut; a transaction that was completed after the wrong sum shows more.
    """
    log = Path(f"{path}-wal")
    seen = b""
    for wait in (0.0, 0.05):  # another edgechat may be writing it just now: then it looks different in a moment
        time.sleep(wait)
        try:
            data = log.read_bytes()  # SQLite locks the file and its index, never the log: closing this loses no lock
        except OSError:
            return ""
        header = data[:_WAL_HEADER]
        if not _loses_transactions(data) or (wait and header != seen):
            return ""
        seen = header
    return f"its log {log.name} is damaged, and what was said last may be missing"


def log_header_damage(path: Path) -> str:
    """Whether SQLite would pass over the whole log that is there, and begin another over it; empty if not."""
    try:
        with Path(f"{path}-wal").open("rb") as log:
            header = log.read(_WAL_HEADER + _FRAME_HEADER)
    except OSError:
        return ""
    whole = len(header) == _WAL_HEADER + _FRAME_HEADER
    return log_damage(path) if whole and _page_size(header[:_WAL_HEADER]) == 0 else ""


def completed(path: Path) -> int:
    """The number of the last frame of the log that completes a transaction, by what the frame itself says."""
    last = 0
    try:
        with Path(f"{path}-wal").open("rb") as log:
            header = log.read(_WAL_HEADER)
            size = _page_size(header)
            number = 0
            while size and len(frame := log.read(_FRAME_HEADER)) == _FRAME_HEADER and frame[8:16] == header[16:24]:
                number += 1
                if frame[4:8] != b"\0\0\0\0":  # the size of the file: only the last frame of a transaction has it
                    last = number
                log.seek(size, SEEK_CUR)
            if log.tell() > os.fstat(log.fileno()).st_size:
                last = min(last, number - 1)  # the last one was cut off
    except OSError:
        return 0
    return last


def _page_size(header: bytes) -> int:
    """The bytes of a page in the log with this header; 0 if SQLite would not believe the header."""
    if len(header) < _WAL_HEADER:
        return 0
    magic, _, size, _, _, _, *sums = struct.unpack(">8I", header)
    size = 65536 if size == 1 else size
    wrong = magic & ~1 != _WAL_MAGIC or size < 512 or size & (size - 1)
    return 0 if wrong or _sums(_order(header), header[:24], (0, 0)) != tuple(sums) else size


def _order(header: bytes) -> str:
    return ">" if header[3] & 1 else "<"


def _loses_transactions(data: bytes) -> bool:
    """Whether a transaction ends in a log behind a place where the sums are wrong."""
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
    """SQLite's sums over a log, in which each frame goes on from the one before."""
    first, second = state
    for one, other in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
