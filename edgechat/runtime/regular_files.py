"""Opens files that somebody else may have put there, and nothing but files.

Under the name of a file that edgechat expects there may be a named pipe, which never answers, a device, which never
ends or does something when it is opened, or a file of any size. Whatever reads a model, an import, a settings file or
a file the user names, goes through here; its errors are `OSError`, so that callers need no second way of handling them.
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
    """A file has more bytes than any real one of its kind.

    Attributes:
        size: Bytes it has, as far as that is known: one more than allowed at the least.
    """

    def __init__(self, path: Path, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {most:,} bytes, which no real one is", str(path))
        self.size = size


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, unbuffered waiting excluded: what is no regular file is refused, never waited for.

    Raises:
        OSError: It is missing, no regular file, or cannot be read; `strerror` says which.
    """
    # Looked at before it is opened, for opening is an act with some devices; and after, for it may have been exchanged.
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
    """The bytes of a file, of which there may be `most`.

    Raises:
        TooLargeError: There are more.
        OSError: As `open_regular`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise TooLargeError(path, size, most)
        data = file.read(most + 1)  # the size is not to be believed: it may grow, and is 0 in /proc
    if len(data) > most:
        raise TooLargeError(path, len(data), most)
    return data


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = next((words for is_kind, words in _KINDS if is_kind(mode)), "it is not a regular file")
        raise OSError(errno.EINVAL, what, str(path))
