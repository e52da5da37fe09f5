"""Checks whether the folders for settings, chats, models and the log are usable, and by this user only.

It creates no folder and changes no permissions, but says what to do.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgechat.doctor.preflight import Finding, State
from edgechat.i18n.catalog import N_, _
from edgechat.models.sanitize import size_text
from edgechat.runtime import file_lock, paths
from edgechat.runtime.file_ownership import chmod_command, stores_no_permissions

LITTLE_DISK = 200 * 1000 * 1000
"""Bytes of free disk space below which storing chats and models may soon fail."""

PROBE = 64 * 1024
"""Bytes written to test for free space, and deleted immediately."""


def folders() -> Iterator[Finding]:
    """Check each folder, and the space on their disk."""
    for name, title, folder in (
        ("folder_config", N_("Folder of settings"), paths.config_dir()),
        ("folder_data", N_("Folder of chats and models"), paths.data_dir()),
        ("folder_cache", N_("Cache folder"), paths.cache_dir()),
        ("folder_state", N_("Folder of the log"), paths.state_dir()),
    ):
        yield _folder(name, title, folder)
    yield _disk()
    yield from _locks()


def _folder(name: str, title: str, folder: Path) -> Finding:
    finding = partial(Finding, name, title)
    try:
        found = folder.stat()
    except FileNotFoundError:
        there = next(parent for parent in folder.parents if parent.exists())
        if may(there, os.W_OK | os.X_OK):
            return finding("ok", _("{folder} is made when it is needed.").format(folder=folder))
        return finding(
            "fail",
            _("{folder} is not there, and cannot be made in {parent}.").format(folder=folder, parent=there),
            _("Set EDGECHAT_HOME to a folder you can write to."),
        )
    except OSError as error:
        return finding(
            "fail",
            f"{folder}: {error.strerror or error}.",
            _("Make it readable, or set EDGECHAT_HOME to a folder that is."),
        )
    if not stat.S_ISDIR(found.st_mode):
        return finding("fail", _("{folder} is no folder.").format(folder=folder), _("Move it away."))
    if is_read_only(folder):
        return finding(
            "fail",
            _("{folder} is on a disk that can only be read: the chats in it can be listed, and none is kept.").format(
                folder=folder
            ),
            _("Set EDGECHAT_HOME to a folder you can write to."),
        )
    if not may(folder, os.R_OK | os.W_OK | os.X_OK):
        return finding(
            "fail",
            _("{folder} cannot be written to.").format(folder=folder),
            _("Make it writable, or set EDGECHAT_HOME to a folder that is."),
        )
    mode = stat.S_IMODE(found.st_mode)
    if os.name == "posix" and mode & 0o077:
        return finding(
            "warn",
            _("Others can look into {folder} (its mode is {mode:o}).").format(folder=folder, mode=mode),
            remedy("700", folder),
        )
    return finding("ok", str(folder))


def remedy(change: str, path: Path) -> str:
    """Return how to change a file's permissions, which not every file system stores."""
    if is_read_only(path):
        return _("The disk is mounted read-only: mount it for writing, or set EDGECHAT_HOME to a folder on another.")
    owner = path.stat().st_uid
    if stores_no_permissions(path):
        return _("This file system (FAT, exFAT, NTFS) keeps no rights: mount it with uid={uid},umask=077.").format(
            uid=os.geteuid()
        )
    if os.geteuid() not in (0, owner):
        return _("It belongs to user {owner}: set EDGECHAT_HOME to a folder of your own.").format(owner=owner)
    return chmod_command(change, path)


def may(path: Path, what: int) -> bool:
    """Whether this process has that access under its effective user."""
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def is_read_only(path: Path) -> bool:
    """Whether the disk with a file or folder is mounted read-only."""
    return os.name == "posix" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _locks() -> Iterator[Finding]:
    folder = paths.data_dir()
    if not folder.is_dir() or is_read_only(folder) or not may(folder, os.W_OK | os.X_OK):
        return  # cannot be determined
    if file_lock.supported_in(folder):
        yield Finding("locks", N_("File locks"), "ok", _("Several edgechats can have the chats open."))
        return
    yield Finding(
        "locks",
        N_("File locks"),
        "warn",
        _("The disk of {folder} has no file locks: open these chats with one edgechat at a time.").format(
            folder=folder
        ),
        _("Set EDGECHAT_HOME to a folder on a disk of this machine."),
    )


def _refused(folder: Path) -> str:
    """Return why nothing more can be written to a folder despite its permissions; "" if it can, or does not exist.

    Free space does not tell: the user's quota may be used up, or the disk may have run out of inodes.
    """
    if not folder.is_dir() or not may(folder, os.W_OK | os.X_OK):
        return ""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _disk() -> Finding:
    folder = paths.data_dir()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if words := _refused(folder):
        detail = _("Nothing more can be written to {folder}: {words}.").format(folder=folder, words=words)
        return Finding("disk", N_("Disk"), "fail", detail, _("Free some space: chats may not be kept."))
    free = shutil.disk_usage(there).free
    detail = _("{size} free").format(size=size_text(free))
    if free < LITTLE_DISK:
        state: State = "fail" if free < LITTLE_DISK // 100 else "warn"
        return Finding("disk", N_("Disk"), state, detail, _("Free some space: chats may not be kept."))
    return Finding("disk", N_("Disk"), "ok", detail)
