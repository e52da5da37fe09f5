"""The folders that settings, chats, models and the log lie in: whether they can be used, and by the user alone.

No folder is made and no mode is changed here; what is to be done is told.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgechat import paths
from edgechat.i18n import N_, _
from edgechat.models.words import size_text
from edgechat.preflight import Finding, State

LITTLE_DISK = 200 * 1000 * 1000
"""Bytes of free disk below which chats and models may soon not be kept."""


def folders() -> Iterator[Finding]:
    """Each folder, and the room on the disk they are on."""
    for name, title, folder in (
        ("folder_config", N_("Folder of settings"), paths.config_dir()),
        ("folder_data", N_("Folder of chats and models"), paths.data_dir()),
        ("folder_cache", N_("Cache folder"), paths.cache_dir()),
        ("folder_state", N_("Folder of the log"), paths.state_dir()),
    ):
        yield _folder(name, title, folder)
    yield _disk()


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
            f"chmod 700 {folder}",
        )
    return finding("ok", str(folder))


def may(path: Path, what: int) -> bool:
    """Whether this process may do that, as the rights it acts with have it."""
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _disk() -> Finding:
    folder = paths.data_dir()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    detail = _("{size} free").format(size=size_text(free))
    if free < LITTLE_DISK:
        state: State = "fail" if free < LITTLE_DISK // 100 else "warn"
        return Finding("disk", N_("Disk"), state, detail, _("Free some space: chats may not be kept."))
    return Finding("disk", N_("Disk"), "ok", detail)
