"""Copies of the history for the day it is damaged, and what happens on that day.

A backup is made once a day, by SQLite itself while the chat goes on, and only one that was read whole and found sound
takes its place among the seven that are kept. A damaged file is never repaired, opened for writing or overwritten: it
is renamed, with its companions, and the newest sound backup is copied to where it was.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.errors import DamagedError, StorageError
from edgechat.history.connection import connect
from edgechat.history.corruption import COMPANIONS, damage, mark_suspect, suspect_path
from edgechat.runtime.paths import make_private

if TYPE_CHECKING:
    from edgechat.history.database import Database

KEPT = 7
"""Backups that are kept, one a day."""


CHANGES = 500
"""Changes of chats after which a backup is made whatever the clock says: some hundred messages and replies."""

_NAME = re.compile(r"-(?:(\d+)\.)?(\d{4}-\d\d-\d\d)\.db")


def folder_of(path: Path) -> Path:
    """Where the backups of the history at `path` are."""
    return path.with_name("backups")


def day_of(backup: Path) -> str:
    """The day of a backup, by the clock of that day."""
    found = _NAME.search(backup.name)
    return found[2] if found else ""


def _number(backup: Path) -> tuple[int, str]:
    """The order of the backups. Those of older versions have no number, and came before."""
    found = _NAME.search(backup.name)
    return (int(found[1] or 0), found[2]) if found else (0, "")


def back_up(path: Path, database: Database | None = None) -> Path | None:
    """Make today's backup and drop those that are too many.

    Today is told by the clock; where that stands still or starts in 1970 each time, what was said since the last backup
    decides.

    Args:
        path: The history.
        database: The same, open; it stands still meanwhile where no locks keep it apart from who copies it.

    Returns:
        The backup; None if none is due, or there is nothing to keep.

    Raises:
        StorageError: It could not be made, or the history is damaged; older backups stay then.
    """
    folder = make_private(folder_of(path))
    there = backups(path)
    day = f"{datetime.now():%Y-%m-%d}"
    if any(day_of(backup) == day for backup in there) and not _overdue(path, there[0]):
        return None
    today = folder / f"{path.stem}-{(_number(there[0])[0] if there else 0) + 1:06}.{day}.db"
    part = folder / f"{today.name}.{os.getpid()}.part"
    _clear(folder, path.stem)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with _source(path, database) as source, closing(connect(part)) as copy:
            if not source.execute("SELECT EXISTS (SELECT 1 FROM conversation)").fetchone()[0]:
                return None
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, that can be copied as it is
        if words := damage(part, rows=False):
            mark_suspect(path)
            raise StorageError(
                "Chat history is damaged",
                f"{path}: {words}. No backup of it was made; older ones are in {folder}.",
                "Leave edgechat and start it again.",
            )
        part.replace(today)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            "No backup was made", f"{folder}: {error}.", "Free some space, or make the folder writable."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    for old in backups(path)[KEPT:]:
        old.unlink(missing_ok=True)
    return today


def _source(path: Path, database: Database | None) -> AbstractContextManager[sqlite3.Connection]:
    if database is not None and not database.locked:
        return database.reading()
    return closing(connect(path, read_only=True))


def _overdue(path: Path, newest: Path) -> bool:
    """Whether much has changed since the newest backup, or something while the clock went back."""
    try:
        with closing(connect(path, read_only=True)) as now, closing(connect(newest, read_only=True)) as then:
            changes, _ = _changes(now)
            before, seen = _changes(then)
    except sqlite3.Error:
        return True
    return changes - before >= CHANGES or (changes > before and time.time() < seen)


def _changes(db: sqlite3.Connection) -> tuple[int, float]:
    """How many changes a history has seen, and when the last one was."""
    touched, updated = db.execute("SELECT MAX(touched), MAX(updated) FROM conversation").fetchone()
    return touched or 0, updated or 0.0


def _clear(folder: Path, stem: str) -> None:
    """Take away what a backup that was killed left: a copy of every chat that no purge would ever reach."""
    import psutil  # there is time

    for left in folder.glob(f"{stem}-*.part*"):  # with SQLite's journals
        pid = left.name.partition(".db.")[2].partition(".")[0]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            with suppress(OSError):
                left.unlink()


def backups(path: Path) -> list[Path]:
    """The backups, the one made last first, whatever their dates say."""
    found = (file for file in folder_of(path).glob(f"{path.stem}-*.db") if _NAME.search(file.name))
    return sorted(found, key=_number, reverse=True)


def set_aside(path: Path) -> str | None:
    """Move a damaged history out of the way, under a name with the date, and put the newest sound copy in its place.

    That is a copy of the file itself, where only its log or its index of words is damaged; else the newest sound
    backup.

    Returns:
        What was done, for the user; None if the file turns out to be sound, and nothing was done.

    Raises:
        OSError: The file cannot be moved; it is as it was.
        StorageError: It cannot be examined; it is as it was.
    """
    if path.exists() and path.stat().st_size and not damage(path) and _opens(path):
        return None
    aside = _free_name(path.with_name(f"{path.stem}.damaged-{datetime.now():%Y-%m-%dT%H%M%S}.db"))
    # The log goes first: should this be interrupted, the file without its log is still found to be damaged or whole,
    # while a log without its file could be taken for one of the file that comes next.
    for end in reversed(COMPANIONS):
        with suppress(FileNotFoundError):
            Path(f"{path}{end}").rename(f"{aside}{end}")
    suspect_path(path).unlink(missing_ok=True)
    told = f"The chat history was damaged. It was set aside as {aside}, and nothing in it was changed."
    if _restored(path, aside, _own_copy):
        return f"{told} Its chats could be read and are here; what was said last may be missing."
    for backup in backups(path):
        if _restored(path, backup, _copy):
            day = day_of(backup)
            return f"{told} The chats are those of the backup of {day}; what was said later is only in that file."
    return f"{told} There is no backup, so the history begins anew."


def _opens(path: Path) -> bool:
    """Whether a file that looks sound can be opened as well: nobody may be locked out for good."""
    from edgechat.history.database import Database

    try:
        Database.open(path).close()
    except DamagedError:
        return False
    return True


def _restored(path: Path, source: Path, copy: Callable[[Path, Path], None]) -> bool:
    """Put a copy of a file in the place of the history, if it is sound; whether it was."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        copy(source, part)
        if damage(part) or not _opens(part):
            return False
        _put(part, path)
    except (OSError, StorageError, sqlite3.Error, ValueError):
        return False
    finally:
        for end in COMPANIONS:
            Path(f"{part}{end}").unlink(missing_ok=True)
    return True


def _copy(source: Path, part: Path) -> None:
    os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    shutil.copyfile(source, part)


def _own_copy(aside: Path, part: Path) -> None:
    """Copy a file that was set aside with what SQLite can read of its log, and index its words anew."""
    from edgechat.history import migrations, search

    if not aside.is_file() or not aside.stat().st_size:
        raise FileNotFoundError(aside)
    for end in ("", "-wal"):
        if Path(f"{aside}{end}").is_file():
            _copy(Path(f"{aside}{end}"), Path(f"{part}{end}"))
    with closing(connect(part, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE").fetchone()  # takes over the log
        if not migrations.version(db, part):
            raise FileNotFoundError(aside)  # nothing is left in it
        if not damage(part):
            return
        search.register(db)
        search.index_anew(db)


def _put(part: Path, path: Path) -> None:
    """Give a finished file its name, unless another edgechat was faster."""
    try:
        os.link(part, path)  # unlike a rename, it overwrites nothing
    except FileExistsError:
        return
    except OSError:  # a disk without hard links
        if not path.exists():
            part.rename(path)


def _free_name(path: Path) -> Path:
    number = 2
    free = path
    while any(Path(f"{free}{end}").exists() for end in COMPANIONS):
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free
