"""Linux Landlock: a process permanently gives up access to all files it does not list; no privileges are needed.

Called by system call number through ctypes: glibc has no wrappers, and the PyPI package `landlock` covers four of seven
ABI versions and is unmaintained, while only three calls are needed. The kernel reports its ABI version; rights it does
not know are left out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file access rights by ABI version; each is a bit. 1: execute, write, read, list, remove, make. 2: move
between folders. 3: truncate. 5: ioctl on devices."""

_NETWORK_RIGHTS = 0b11
"""ABI 4: TCP bind and connect."""

_SCOPES = 0b11
"""ABI 6: other processes' abstract unix sockets, and signals to them."""

_pinned: list[int] = []
"""Paths in /proc to keep open: once the kernel has evicted an inode it creates a new one, which the rule does not
cover."""


def abi() -> int:
    """Return the ABI version; 0 if Landlock is unavailable or a container forbids asking."""
    try:
        return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))
    except (OSError, AttributeError):
        return 0


def restrict(readable: Iterable[Path]) -> int:
    """Restrict this thread and everything it starts to reading these files and folders.

    Open files stay open. No file can be executed, TCP is blocked and no outside process can be signalled, as far as the
    kernel supports it.

    Args:
        readable: Files and folders with their contents; missing ones are ignored.

    Returns:
        The ABI version used.

    Raises:
        OSError: The kernel refused; the only change then is that running a program can gain no privileges.
    """
    version = abi()
    if sys.platform != "linux" or not version:
        raise OSError(errno.ENOSYS, "this kernel has none")
    handled = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    fields = [handled]
    if version >= 4:
        fields.append(_NETWORK_RIGHTS)
    if version >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    places: list[tuple[Path, int]] = []
    try:
        for path in readable:
            with suppress(OSError):
                places.append((path, os.open(path, os.O_PATH | os.O_CLOEXEC)))
        for path, place in places:
            _allow(ruleset, path, place)
        if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "new privileges cannot be given up")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, place: int) -> None:
    try:
        folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rights = _READ_FILE | _READ_DIR if folder else _READ_FILE
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        if path.is_relative_to("/proc"):
            _pinned.append(place)
        else:
            os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> int:
    longs = [one if isinstance(one, bytes) or one is None else ctypes.c_long(one) for one in arguments]
    result = int(_libc().syscall(ctypes.c_long(number), *longs))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
