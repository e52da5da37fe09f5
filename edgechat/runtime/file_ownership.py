"""Checks whether another user could replace a file or a folder above it, and suggests a fix."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from edgechat.errors import StorageError
from edgechat.i18n.sentence import Sentence


def require_own(path: Path, trusted: frozenset[int] = frozenset()) -> None:
    """Refuse a path that another user could replace, along with chats and models of theirs.

    Args:
        path: Need not exist.
        trusted: User ids that may own it, besides this user and the system.

    Raises:
        StorageError: Someone else controls a component of the path.
    """
    if os.name != "posix" or (found := _untrusted_component(path, trusted)) is None:
        return
    owner = found.lstat().st_uid
    if owner in {0, os.geteuid(), *trusted}:
        raise StorageError(
            "Folder is not yours alone",
            Sentence(
                "{found} can be changed by other users, who could exchange what edgechat opens there.", found=found
            ),
            Sentence(
                "Set EDGECHAT_HOME to a folder in your own home, or move edgechat into one, or: {chmod_command}",
                chmod_command=chmod_command("go-w", found),
            ),
        )
    raise StorageError(
        "Folder is not yours alone",
        Sentence(
            "{found} belongs to user {owner}, who could exchange what edgechat opens there.", found=found, owner=owner
        ),
        Sentence(
            "Set EDGECHAT_HOME to a folder in your own home, or move edgechat into one; mount a stick (FAT, "
            "exFAT, NTFS) with uid={geteuid}.",
            geteuid=os.geteuid(),
        ),
    )


def chmod_command(change: str, path: Path) -> str:
    """Return the command that changes a file's permissions."""
    return f"chmod {change} {shlex.quote(str(path))}"


def _untrusted_component(path: Path, trusted: frozenset[int]) -> Path | None:
    """Return the first component of the path, links included, that others can replace; None if there is none."""
    at, rest, links = Path("/"), [*reversed(path.parts[1:])], 0
    while rest:
        name = rest.pop()
        step = at.parent if name == ".." else at / name
        try:
            found = step.lstat()
        except OSError:  # does not exist yet; whoever creates it owns it
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
        return not stores_no_permissions(path)
    # Most systems give each user a group of their own, which may write to the user's files.
    return found.st_gid not in (0, os.getegid())


def _unknown(uid: int) -> bool:
    """Whether this cannot be a real user: in a container, outside files belong to users it does not have."""
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


def stores_no_permissions(path: Path) -> bool:
    """Whether a file system stores no permissions, as on USB sticks; the mount options then apply to all files."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    kinds = {}
    for line in mounts:
        head, _, tail = line.partition(" - ")
        place = head.split()[4].replace("\\040", " ")
        if path.is_relative_to(place):
            kinds[place] = tail.split()[0]  # the last mount on a path is the visible one
    return bool(kinds) and kinds[max(kinds, key=len)] in _MODELESS


_MODELESS = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "9p", "drvfs", "cifs", "smb3"})
