"""Opens files that someone else may have planted, and only regular files.

In place of a file edgechat expects there may be a named pipe, which blocks forever, a device, which is endless or
reacts to being opened, or a file of any size. Whatever reads a model, an import, a settings file or a file the user
names uses this module. Its errors are `OSError`, so callers can handle them like any other.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a named pipe, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
)


class TooLargeError(OSError):
    """A file is larger than any real one of its kind.

    Attributes:
        size: Its size in bytes if known, otherwise one more than allowed.
    """

    def __init__(self, path: Path, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {most:,} bytes, which no real one is", str(path))
        self.size = size


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; anything else is refused without blocking.

    Raises:
        OSError: It is missing, not a regular file, or cannot be read; `strerror` says which.
    """
    # Checked before opening, since opening some devices has effects, and after, since it may have been replaced.
    _check(path, path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _check(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises:
        TooLargeError: It has more.
        OSError: See `open_regular`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise TooLargeError(path, size, most)
        data = file.read(most + 1)  # the reported size is unreliable: it may grow, and is 0 in /proc
    if len(data) > most:
        raise TooLargeError(path, len(data), most)
    return data


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = next((words for is_kind, words in _KINDS if is_kind(mode)), "it is not a regular file")
        raise OSError(errno.EINVAL, what, str(path))
