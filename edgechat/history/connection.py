"""How SQLite is asked to open a file of the history: the one place that knows of disks without file locks.

There SQLite is told to take none, and a file beside the history names the process that has it open, so that two
edgechats do not write it at once. A process that is gone, as its name tells, has it open no more.
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
from edgechat.runtime import file_lock


def has_locks(path: Path) -> bool:
    """Whether the disk with the history has file locks."""
    return file_lock.supported_in(path.absolute().parent)


def connect(path: Path, *, read_only: bool = False, **options: Any) -> sqlite3.Connection:
    """Open a file; nothing is read yet.

    Args:
        path: The file; made if there is none, unless it is only to be read.
        read_only: Change nothing.
        **options: Those of `sqlite3.connect`.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    unlocked = not has_locks(path)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}{'&vfs=unix-none' if unlocked else ''}"
    connection: sqlite3.Connection = sqlite3.connect(uri, uri=True, **options)
    if unlocked:
        # Before anything is read: the index of a log cannot be shared where there are no locks.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def connect_to_read(path: Path, **options: Any) -> sqlite3.Connection:
    """Open a file to read it, with all that its log holds, also in a folder or on a disk that cannot be written.

    Args:
        path: The file.
        **options: Those of `sqlite3.connect`.

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
    # SQLite could not make the index of the log beside it.
    log = Path(f"{path}-wal")
    if not (log.exists() and log.stat().st_size):  # nobody has it open
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return cast("sqlite3.Connection", sqlite3.connect(uri, uri=True, **options))
    import tempfile  # for the rare one

    with tempfile.TemporaryDirectory(prefix="edgechat-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as source:
            return copied(source, **options)


def copied(source: sqlite3.Connection, **options: Any) -> sqlite3.Connection:
    """All that is in a history, in memory."""
    memory: sqlite3.Connection = sqlite3.connect(":memory:", **options)
    try:
        source.backup(memory)
    except BaseException:
        memory.close()
        raise
    return memory


class Lease:
    """The file that says who has a history open, where no lock can."""

    def __init__(self, path: Path) -> None:
        """Take it.

        Raises:
            StorageError: Another edgechat has it, on this machine or on another.
            OSError: The file cannot be made.
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
        raise self._taken(path, "another edgechat")

    def _clear(self, path: Path) -> None:
        """Take away the file of a process that is gone."""
        host, _, process = self.path.read_text("utf-8", "replace").partition(" ")
        if host not in ("", os.uname().nodename):
            raise self._taken(path, f"the machine {host}")
        if reply_owner.lives(process):
            raise self._taken(path, f"process {process.partition(':')[0]}")
        self.path.unlink(missing_ok=True)

    def _taken(self, path: Path, who: str) -> StorageError:
        return StorageError(
            "Chat history is open elsewhere",
            f"{path} is on a disk without file locks, and {who} has it open.",
            f"Close edgechat there. If it is not running any more, delete {self.path}.",
        )

    def release(self) -> None:
        """Give it back."""
        with suppress(OSError):
            if self.path.read_text("utf-8", "replace") == self._mine:
                self.path.unlink()
