"""Linux Landlock: a process gives up, for good and without any rights needed, whatever of the file system it names not.

Called by number through ctypes: glibc has no functions for it, and of the libraries on PyPI the one that is called
`landlock` knows four of seven versions of the interface and is no longer worked on, while three calls are all there is.
The kernel tells its version ("ABI"); rights it does not know yet are left out, never guessed.
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
"""By ABI, how many rights over files there are; each is a bit. 1: execute, write, read, list, remove, make. 2: move
between folders. 3: truncate. 5: ioctl on devices."""

_NETWORK_RIGHTS = 0b11
"""ABI 4: bind and connect TCP."""

_SCOPES = 0b11
"""ABI 6: abstract unix sockets of others, signals to others."""

_pinned: list[int] = []
"""Places in /proc that must stay open: when the kernel has forgotten one it makes a new inode, and a rule is for the
old."""


def abi() -> int:
    """The version of the interface; 0 where there is none, or where a container forbids to ask."""
    try:
        return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))
    except (OSError, AttributeError):
        return 0


def restrict(readable: Iterable[Path]) -> int:
    """Let this thread, and whatever it starts, read these files and folders with what is in them, and do nothing else.

    What is open stays open. No file can be run, TCP is gone, and nobody outside can be signalled, as far as the kernel
    knows how.

    Args:
        readable: Those that are not there are left out.

    Returns:
        The version of the interface that was used.

    Raises:
        OSError: The kernel refuses; nothing has changed then but that no rights can be gained by running a program.
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
