"""A lock between processes that the system lets go when its holder dies.

A file that merely exists would stay locked for ever after a crash, as `filelock`'s soft locks may. Here the kernel's
own lock on an open file is used: a killed process, or a power cut, leaves nothing behind that anyone has to clean up.
On a disk without such locks, as on some network drives, nobody is locked out: work goes on without.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from edgechat.errors import StorageError
from edgechat.runtime.logs import log

_POLL_SECONDS = 0.1

_NONE_HERE = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
"""What a system says of a lock on a disk that has none; of a lock that is taken it says something else."""


@cache
def work_in(folder: Path) -> bool:
    """Whether files in a folder can be locked; asked of the system once a process."""
    if os.name != "posix":
        return True
    try:
        probe = folder / f".locks-{os.getpid()}"
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT, 0o600)
        probe.unlink()
    except OSError:
        return True  # it cannot be written to, which is told in other words
    try:
        _try_record_lock(descriptor)
    except OSError as error:
        return error.errno not in _NONE_HERE
    finally:
        os.close(descriptor)
    return True


class FileLock:
    """A lock held by this object while `held`. Two objects exclude each other, in one process or in two.

    Attributes:
        certain: Whether nobody else holds it; False after taking it on a disk without locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certain = True
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting. Raises OSError when the file cannot be made."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            taken = _try_lock(descriptor)
        except OSError as error:
            if error.errno not in _NONE_HERE:
                os.close(descriptor)
                raise
            taken, self.certain = True, False
            log.warning("%s: no file locks here (%s); going on without", self.path.parent, errno.errorcode[error.errno])
        if not taken:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                _unlock(descriptor)
            os.close(descriptor)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock, waiting for as long as another process has it.

    Args:
        path: The lock file; made when missing and never removed, for removing it would let two holders in.
        on_wait: Called once, when the lock turns out to be taken.

    Raises:
        StorageError: The lock file cannot be made.
    """
    lock = FileLock(path)
    told = False
    try:
        # Polled, not slept in the kernel: Ctrl+C must end the waiting on every system.
        while not lock.acquire():
            if not told and on_wait is not None:
                on_wait()
            told = True
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        raise StorageError(
            "Folder is not writable",
            f"{path}: {error.strerror or error}.",
            "Make the folder writable, or set EDGECHAT_HOME to one that is.",
        ) from error
    try:
        yield
    finally:
        lock.release()


if sys.platform == "win32":  # pragma: no cover - run on Windows alone
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _try_record_lock(descriptor: int) -> None:
        return

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _try_record_lock(descriptor: int) -> None:
        """Take the kind of lock that SQLite uses, if it is free."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
