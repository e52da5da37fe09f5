"""Opens SQLite files of the history; the only module that deals with disks without file locks.

On those, SQLite is told not to lock, and a lease file next to the history names the process that has it open, so that
two processes do not write at once. The lease of a process that no longer exists is void.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

from edgechat.errors import StorageError
from edgechat.history import reply_owner
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import file_lock


def has_locks(path: Path) -> bool:
    """Whether the disk with the history supports file locks."""
    return file_lock.supported_in(path.absolute().parent)


def connect(path: Path, *, read_only: bool = False, **options: Any) -> sqlite3.Connection:
    """Open a file without reading anything yet.

    Args:
        path: The file; created if missing, unless read-only.
        read_only: Open without write access.
        **options: Passed to `sqlite3.connect`.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    unlocked = not has_locks(path)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}{'&vfs=unix-none' if unlocked else ''}"
    connection: sqlite3.Connection = sqlite3.connect(uri, uri=True, **options)
    if unlocked:
        # Before anything is read: without locks, the index of the log cannot be shared.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def connect_to_read(path: Path, **options: Any) -> sqlite3.Connection:
    """Open a file for reading including its log, even in a read-only folder or on a read-only disk.

    Args:
        path: The file.
        **options: Passed to `sqlite3.connect`.

    Raises:
        sqlite3.Error: It cannot be read.
        OSError: Its log cannot be read.
    """
    connection = connect(path, read_only=True, **options)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
    else:
        return connection
    # SQLite could not create the index of the log next to it.
    log = Path(f"{path}-wal")
    if not (log.exists() and log.stat().st_size):  # nobody has it open
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return cast("sqlite3.Connection", sqlite3.connect(uri, uri=True, **options))
    import tempfile  # rarely needed

    with tempfile.TemporaryDirectory(prefix="edgechat-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as source:
            return copy_to_memory(source, **options)


def copy_to_memory(source: sqlite3.Connection, **options: Any) -> sqlite3.Connection:
    """Copy an entire history into memory."""
    memory: sqlite3.Connection = sqlite3.connect(":memory:", **options)
    try:
        source.backup(memory)
    except BaseException:
        memory.close()
        raise
    return memory


class Lease:
    """The file that says which process has a history open, where locks are unavailable."""

    def __init__(self, path: Path) -> None:
        """Acquire the lease.

        Raises:
            StorageError: Another process has it, on this machine or another.
            OSError: The file cannot be created.
        """
        self.path = Path(f"{path}-open")
        self._mine = f"{os.uname().nodename} {reply_owner.this_process()}"
        for _ in range(2):
            try:
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                self._clear(path)
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self._mine)
            return
        raise self._held_error(path, "another edgechat")

    def _clear(self, path: Path) -> None:
        """Delete the file of a process that no longer exists."""
        host, _, process = self.path.read_text("utf-8", "replace").partition(" ")
        if host not in ("", os.uname().nodename):
            raise self._held_error(path, f"the machine {host}")
        if reply_owner.is_alive(process):
            raise self._held_error(path, f"process {process.partition(':')[0]}")
        self.path.unlink(missing_ok=True)

    def _held_error(self, path: Path, who: str) -> StorageError:
        return StorageError(
            "Chat history is open elsewhere",
            Sentence("{path} is on a disk without file locks, and {who} has it open.", path=path, who=who),
            Sentence("Close edgechat there. If it is not running any more, delete {path}.", path=self.path),
        )

    def release(self) -> None:
        """Release the lease."""
        with suppress(OSError):
            if self.path.read_text("utf-8", "replace") == self._mine:
                self.path.unlink()
