"""The history's SQLite file: opening it, its transactions, and messages for everything that can go wrong.

Only this module turns errors of SQLite and the file system into a StorageError. It never repairs, replaces or
overwrites a file it cannot read, and never opens the file except through SQLite: closing a second descriptor would drop
the locks that SQLite holds for the whole process.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from edgechat.errors import DamagedError, StorageError
from edgechat.history import corruption, migrations, search
from edgechat.history.connection import Lease, connect, connect_to_read, copy_to_memory, has_locks
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.paths import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_SECONDS = 5.0
"""Seconds to wait for another process that is writing. Its transactions take milliseconds."""


class Database:
    """One connection shared by the threads of this process; each transaction has exclusive use of it.

    Attributes:
        path: The file; ":memory:" for a history that is not stored.
        locked: Whether other processes are locked out during writes; False on a disk without file locks.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lease: Lease | None = None) -> None:
        self.path = path
        self.locked = lease is None
        self._lease = lease
        self._connection = connection
        self._lock = Lock()

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open the file, creating it if missing, and migrate it to the latest schema.

        Raises:
            StorageError: It cannot be created, read or written, is damaged, too new, or not a history.
        """
        path = path.absolute()
        make_private(path.parent)
        with _translate_errors(path, opening=True):
            _refuse_damage(path)
            lease = None if has_locks(path) else Lease(path)
            _create(path)
            completed = corruption.completed(path)
            connection = connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                # Refuses a foreign or newer file before anything is changed; in one transaction, so that a new file
                # another process is creating is seen either before or after, never in between.
                with _transaction(connection, "BEGIN"):
                    _check_version(connection, path)
                _hide_from_others(path)
                if lease is None:
                    _use_wal(connection)
                else:  # WAL mode requires locks
                    connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                if completed and lease is None:
                    _refuse_lost_transactions(connection, path, completed)
                search.register(connection)
                # On macOS a plain fsync leaves the data in the disk's own cache; elsewhere this has no effect.
                connection.execute("PRAGMA fullfsync = ON")
                # A write transaction even if there is nothing to do: a read-only file is reported now, not at the first
                # message; and of two processes starting at once, the second sees what the first has done.
                with _transaction(connection, "BEGIN IMMEDIATE"):
                    migrations.migrate(connection, path)
                    if words := corruption.schema_damage(connection):
                        raise _damaged(path, words)
                connection.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                connection.close()
                if lease is not None:
                    lease.release()
                raise
        return cls(path, connection, lease)

    @classmethod
    def open_unwritable(cls, path: Path) -> Database:
        """Open an unwritable file for reading; any attempt to change it fails.

        Raises:
            StorageError: It cannot be read, is damaged, too new, or not a history.
        """
        path = path.absolute()
        with _translate_errors(path, opening=True):
            options: dict[str, Any] = {
                "timeout": BUSY_SECONDS,
                "isolation_level": None,
                "check_same_thread": False,
            }
            connection = connect_to_read(path, **options)
            try:
                with _transaction(connection, "BEGIN"):
                    is_old = migrations.version(connection, path) < len(migrations.MIGRATIONS)
                    if words := corruption.schema_damage(connection):
                        raise _damaged(path, words)
                if is_old:
                    with closing(connection) as source:
                        connection = copy_to_memory(source, **options)
                    with _transaction(connection, "BEGIN"):
                        migrations.migrate(connection, path)
                search.register(connection)
                connection.execute("PRAGMA query_only = ON")
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @classmethod
    def in_memory(cls) -> Database:
        """Create a history that is gone when it is closed."""
        path = Path(":memory:")
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        search.register(connection)
        with _translate_errors(path), _transaction(connection, "BEGIN"):
            migrations.migrate(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        return cls(path, connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Start a read transaction on a consistent snapshot.

        Raises:
            StorageError: SQLite reported an error.
        """
        with self._lock, _translate_errors(self.path), _transaction(self._connection, "BEGIN"):
            yield self._connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Start a write transaction, which is committed when its block ends and rolled back if it raises.

        Args:
            durable: Whether it must survive a power cut. Otherwise it survives the death of this process and saves a
                disk flush.

        Raises:
            StorageError: SQLite reported an error; the transaction was rolled back.
        """
        with self._lock, _translate_errors(self.path):
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with _transaction(self._connection, "BEGIN IMMEDIATE"):
                yield self._connection

    def close(self) -> None:
        """Close the file; repeated calls do nothing."""
        with self._lock, _translate_errors(self.path):
            self._connection.close()
            if self._lease is not None:
                self._lease.release()


def _refuse_damage(path: Path) -> None:
    """Raise DamagedError for files SQLite would misinterpret, or that were marked as suspect and are damaged."""
    if words := corruption.wrong_kind(path) or corruption.log_header_damage(path):
        raise _damaged(path, words)
    empty = not (path.exists() and path.stat().st_size)
    # A log without its file: SQLite would start anew and delete the log, and with it the latest messages. The log is
    # checked first, because another process that is starting creates it after the file.
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size and empty:
        raise _damaged(path, f"the file is missing or empty, but its log {log.name} is there")
    # A missing file means the user wants to start anew; an empty one is damage.
    if empty and path.exists() and any(path.with_name("backups").glob(f"{path.stem}-*.db")):
        raise _damaged(path, "the file is empty, but there are backups of it")
    suspect = corruption.suspect_path(path)
    if suspect.exists():
        if words := corruption.damage(path):
            raise _damaged(path, words)
        suspect.unlink(missing_ok=True)


def _create(path: Path) -> None:
    """Create the file before SQLite does, so that it is never readable by others; -wal and -shm inherit its mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    try:
        migrations.version(connection, path)
    except DamagedError:
        raise
    except StorageError as error:  # from a newer edgechat, if its header is to be believed
        if words := corruption.header_damage(connection):
            raise _damaged(path, words) from error
        raise


def _hide_from_others(path: Path) -> None:
    """Remove group and other permissions from a file that an older version or a copy left readable."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        # USB sticks have no such permissions and refuse; -wal and -shm may not exist.
        with suppress(OSError):
            mode = name.stat().st_mode
            if mode & 0o077:
                name.chmod(mode & 0o700)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. SQLite itself does not wait if another process is doing the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _refuse_lost_transactions(connection: sqlite3.Connection, path: Path, completed: int) -> None:
    """Raise DamagedError if SQLite sees fewer transactions in the log than were completed.

    Args:
        connection: Opened after `completed` was determined.
        path: The history.
        completed: The last frame that completes a transaction.
    """
    _, seen, _ = connection.execute("PRAGMA wal_checkpoint (PASSIVE)").fetchone()
    if 0 <= seen < completed and (words := corruption.log_damage(path)):
        # Closing the last connection deletes the log, except if it is read-only.
        with closing(connect(path, read_only=True)) as reader:
            reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            reader.execute("BEGIN")
            reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            connection.close()
        raise _damaged(path, words)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has already rolled back.
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextmanager
def _translate_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError, LookupError, OverflowError) as error:
        if isinstance(error, UnicodeEncodeError | OverflowError):  # from a value to be written
            raise StorageError(
                "Cannot be stored",
                "The text or number has no form in the chat history, such as half of a surrogate pair.",
                "Remove the unusual characters and try again.",
            ) from error
        if corruption.is_possible(error) and not opening:
            corruption.mark_suspect(path)  # the next process to open the file examines it
        if corruption.is_certain(error):
            raise _damaged(path, corruption.describe(error)) from error
        if opening and corruption.is_possible(error) and (words := corruption.damage(path)):
            raise _damaged(path, words) from error
        raise translate_sqlite_error(path, error) from error
    except OSError as error:
        raise StorageError(
            "Chat history cannot be opened",
            Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error),
            "Make the folder and the file writable, or set EDGECHAT_HOME to a folder that is.",
        ) from error


def _damaged(path: Path, words: str) -> DamagedError:
    return DamagedError(
        "Chat history is damaged",
        Sentence("{path}: {words}. It was left as it is.", path=path, words=words),
        "Start edgechat again: it sets the file aside, and the newest backup takes its place.",
    )


def translate_sqlite_error(path: Path, error: Exception) -> StorageError:
    """Describe an SQLite error that is not damage."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageError(
            "Disk is full", Sentence("{path} cannot grow.", path=path), "Free some space, then try again."
        )
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(
            "Disk error",
            Sentence(
                "{path}: {error} ({getattr}).", path=path, error=error, getattr=getattr(error, "sqlite_errorname", "")
            ),
            "Check that the disk has free space and is still connected, then try again.",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StorageError(
            "Chat history cannot be written",
            Sentence("{path}: {error}.", path=path, error=error),
            "Make the folder and the file writable, or set EDGECHAT_HOME to a folder that is.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            "Chat history is busy",
            Sentence(
                "Another program has kept {path} locked for {busy_seconds} seconds.",
                path=path,
                busy_seconds=f"{BUSY_SECONDS:.0f}",
            ),
            "Close that program, then try again.",
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return StorageError(
            "Text is too long", Sentence("{path} cannot hold it.", path=path), "Send it in smaller parts."
        )
    return StorageError(
        "Chat history failed", Sentence("{path}: {error}.", path=path, error=error), "Start edgechat again."
    )
