"""Whose a file is: whether another user could exchange it, or a folder above it, and what can be done about it."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from edgechat.errors import StorageError


def require_own(path: Path, trusted: frozenset[int] = frozenset()) -> None:
    """Refuse what another user could put something else in the place of, with chats and models of his.

    Args:
        path: It need not exist.
        trusted: Users who may own it, beside this one and the system.

    Raises:
        StorageError: A step on the way is in the hands of somebody else.
    """
    if os.name != "posix" or (found := _stranger(path, trusted)) is None:
        return
    owner = found.lstat().st_uid
    if owner in {0, os.geteuid(), *trusted}:
        raise StorageError(
            "Folder is not yours alone",
            f"{found} can be changed by other users, who could exchange what edgechat opens there.",
            f"Set EDGECHAT_HOME to a folder in your own home, or move edgechat into one, or: {chmod('go-w', found)}",
        )
    raise StorageError(
        "Folder is not yours alone",
        f"{found} belongs to user {owner}, who could exchange what edgechat opens there.",
        "Set EDGECHAT_HOME to a folder in your own home, or move edgechat into one; "
        f"mount a stick (FAT, exFAT, NTFS) with uid={os.geteuid()}.",
    )


def chmod(change: str, path: Path) -> str:
    """The command that changes the rights of a file."""
    return f"chmod {change} {shlex.quote(str(path))}"


def _stranger(path: Path, trusted: frozenset[int]) -> Path | None:
    """The first step on the way to a path that others can exchange, links included; None where there is none."""
    at, rest, links = Path("/"), [*reversed(path.parts[1:])], 0
    while rest:
        name = rest.pop()
        step = at.parent if name == ".." else at / name
        try:
            found = step.lstat()
        except OSError:  # not there yet; whoever makes it owns it
            return None
        if _open_to_others(step, found, trusted):
            return step
        if not stat.S_ISLNK(found.st_mode):
            at = step
            continue
        links += 1
        if links > 40:
            return step
        target = step.readlink()
        rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = Path("/") if target.is_absolute() else at
    return None


def _open_to_others(path: Path, found: os.stat_result, trusted: frozenset[int]) -> bool:
    if found.st_uid not in {0, os.geteuid(), *trusted} and not _unknown(found.st_uid):
        return True
    mode = found.st_mode
    if stat.S_ISLNK(mode) or mode & stat.S_ISVTX or not mode & 0o022:
        return False
    if mode & 0o002:
        return not without_modes(path)
    # Most systems give each user a group of his own, which may write to what is his.
    return found.st_gid not in (0, os.getegid())


def _unknown(uid: int) -> bool:
    """Whether nobody can be that user: in a container, files from outside belong to users it does not have."""
    with suppress(OSError, ValueError):
        if uid == 65534 and Path("/proc/self/uid_map").read_text("ascii").split()[2] != "4294967295":
            return True
    if os.geteuid() != 0:
        return False
    import pwd

    try:
        pwd.getpwuid(uid)
    except KeyError:
        return True
    return False


def without_modes(path: Path) -> bool:
    """Whether a file system keeps no rights, as those of sticks: whoever mounted it has chosen them for all files."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    kinds = {}
    for line in mounts:
        head, _, tail = line.partition(" - ")
        place = head.split()[4].replace("\\040", " ")
        if path.is_relative_to(place):
            kinds[place] = tail.split()[0]  # the last one on a place is the one that is seen
    return bool(kinds) and kinds[max(kinds, key=len)] in _MODELESS


_MODELESS = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "9p", "drvfs", "cifs", "smb3"})
