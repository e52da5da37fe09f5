"""Backups of the history, and recovery from damage.

A backup is made once a day by SQLite itself while chatting continues, and only one that was fully read and verified
joins the seven that are retained. A damaged file is never repaired, opened for writing or overwritten: it is renamed
along with its companions, and the newest sound backup is restored in its place.
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
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.paths import make_private

if TYPE_CHECKING:
    from edgechat.history.database import Database

MAX_BACKUPS = 7
"""Number of backups retained, one per day."""


CHANGES = 500
"""Number of changes that trigger a backup whatever the clock says: several hundred messages and replies."""

_NAME = re.compile(r"-(?:(\d+)\.)?(\d{4}-\d\d-\d\d)\.db")


def folder_of(path: Path) -> Path:
    """Return the folder with the backups of the history at `path`."""
    return path.with_name("backups")


def day_of(backup: Path) -> str:
    """Return the date of a backup, by that day's clock."""
    found = _NAME.search(backup.name)
    return found[2] if found else ""


def _number(backup: Path) -> tuple[int, str]:
    """Sort key of a backup. Those of older versions have no number and come first."""
    found = _NAME.search(backup.name)
    return (int(found[1] or 0), found[2]) if found else (0, "")


def back_up(path: Path, database: Database | None = None) -> Path | None:
    """Make today's backup and delete surplus ones.

    The clock determines the day; if it stands still or restarts in 1970 each time, the number of changes since the last
    backup decides.

    Args:
        path: The history.
        database: The same history if open; it is locked meanwhile on disks without file locks.

    Returns:
        The backup; None if none is due or there is nothing to back up.

    Raises:
        StorageError: It could not be made, or the history is damaged; older backups are retained.
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
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()  # a single file that can be copied as is
        if words := damage(part, rows=False):
            mark_suspect(path)
            raise StorageError(
                "Chat history is damaged",
                Sentence(
                    "{path}: {words}. No backup of it was made; older ones are in {folder}.",
                    path=path,
                    words=words,
                    folder=folder,
                ),
                "Leave edgechat and start it again.",
            )
        part.replace(today)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            "No backup was made",
            Sentence("{folder}: {error}.", folder=folder, error=error),
            "Free some space, or make the folder writable.",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    for old in backups(path)[MAX_BACKUPS:]:
        old.unlink(missing_ok=True)
    return today


def _source(path: Path, database: Database | None) -> AbstractContextManager[sqlite3.Connection]:
    if database is not None and not database.locked:
        return database.reading()
    return closing(connect(path, read_only=True))


def _overdue(path: Path, newest: Path) -> bool:
    """Whether much has changed since the newest backup, or anything while the clock went back."""
    try:
        with closing(connect(path, read_only=True)) as now, closing(connect(newest, read_only=True)) as then:
            changes, _ = _changes(now)
            before, last = _changes(then)
    except sqlite3.Error:
        return True
    return changes - before >= CHANGES or (changes > before and time.time() < last)


def _changes(db: sqlite3.Connection) -> tuple[int, float]:
    """Return the number of changes to a history and the time of the last one."""
    touched, updated = db.execute("SELECT MAX(touched), MAX(updated) FROM conversation").fetchone()
    return touched or 0, updated or 0.0


def _clear(folder: Path, stem: str) -> None:
    """Delete leftovers of a killed backup: a copy of every chat that no purge would ever reach."""
    import psutil  # slow, but nobody is waiting

    for leftover in folder.glob(f"{stem}-*.part*"):  # with SQLite's journals
        pid = leftover.name.partition(".db.")[2].partition(".")[0]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            with suppress(OSError):
                leftover.unlink()


def backups(path: Path) -> list[Path]:
    """Return the backups, latest first, whatever their dates say."""
    found = (file for file in folder_of(path).glob(f"{path.stem}-*.db") if _NAME.search(file.name))
    return sorted(found, key=_number, reverse=True)


def set_aside(path: Path) -> str | None:
    """Move a damaged history aside under a name with the date, and restore the newest sound copy.

    That is a copy of the file itself if only its log or search index is damaged, otherwise the newest sound backup.

    Returns:
        What was done, for the user; None if the file turns out to be sound and nothing was done.

    Raises:
        OSError: The file cannot be moved and is unchanged.
        StorageError: It cannot be examined and is unchanged.
    """
    if path.exists() and path.stat().st_size and not damage(path) and _opens(path):
        return None
    aside = _free_name(path.with_name(f"{path.stem}.damaged-{datetime.now():%Y-%m-%dT%H%M%S}.db"))
    # Move the log first: if this is interrupted, a file without its log can still be checked, while a log without its
    # file could be mistaken for that of the next file.
    for end in reversed(COMPANIONS):
        with suppress(FileNotFoundError):
            Path(f"{path}{end}").rename(f"{aside}{end}")
    suspect_path(path).unlink(missing_ok=True)
    report = f"The chat history was damaged. It was set aside as {aside}, and nothing in it was changed."
    if _restored(path, aside, _own_copy):
        return f"{report} Its chats could be read and are here; what was said last may be missing."
    for backup in backups(path):
        if _restored(path, backup, _copy):
            day = day_of(backup)
            return f"{report} The chats are those of the backup of {day}; what was said later is only in that file."
    return f"{report} There is no backup, so the history begins anew."


def _opens(path: Path) -> bool:
    """Whether a file that looks sound can actually be opened, so that nobody is locked out for good."""
    from edgechat.history.database import Database

    try:
        Database.open(path).close()
    except DamagedError:
        return False
    return True


def _restored(path: Path, source: Path, copy: Callable[[Path, Path], None]) -> bool:
    """Restore a copy in place of the history if it is sound, and return whether it was."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        copy(source, part)
        if damage(part) or not _opens(part):
            return False
        _publish(part, path)
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
    """Copy a file that was set aside, with what SQLite can read of its log, and rebuild its search index."""
    from edgechat.history import migrations, search

    if not aside.is_file() or not aside.stat().st_size:
        raise FileNotFoundError(aside)
    for end in ("", "-wal"):
        if Path(f"{aside}{end}").is_file():
            _copy(Path(f"{aside}{end}"), Path(f"{part}{end}"))
    with closing(connect(part, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE").fetchone()  # merges the log
        if not migrations.version(db, part):
            raise FileNotFoundError(aside)  # it is empty
        if not damage(part):
            return
        search.register(db)
        search.rebuild_indexes(db)


def _publish(part: Path, path: Path) -> None:
    """Give a finished file its name, unless another process was faster."""
    try:
        os.link(part, path)  # unlike a rename, this overwrites nothing
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
