"""An inter-process lock that the system releases when its holder dies.

A lock based on a file's existence would stay locked forever after a crash, as `filelock`'s soft locks may. This uses
the kernel's lock on an open file: a killed process or a power cut leaves nothing to clean up. On file systems without
such locks, such as some network drives, nobody is locked out: work continues without one.
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
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.logs import log

_POLL_SECONDS = 0.1

_NONE_HERE = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
"""Errors for a disk that does not support locks; a lock that is already taken gives others."""


@cache
def supported_in(folder: Path) -> bool:
    """Return whether files in a folder can be locked; checked once per process."""
    if os.name != "posix":
        return True
    try:
        probe = folder / f".locks-{os.getpid()}"
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT, 0o600)
        probe.unlink()
    except OSError:
        return True  # the folder is not writable, which is reported elsewhere
    try:
        _try_record_lock(descriptor)
    except OSError as error:
        return error.errno not in _NONE_HERE
    finally:
        os.close(descriptor)
    return True


class FileLock:
    """A lock owned by this object while `held`. Two objects exclude each other, within a process or between two.

    Attributes:
        certain: Whether nobody else can hold it; False after acquiring it on a disk without locks.
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
        """Acquire the lock without waiting, if it is free. Raises OSError if the file cannot be created."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            acquired = _try_lock(descriptor)
        except OSError as error:
            if error.errno not in _NONE_HERE:
                os.close(descriptor)
                raise
            acquired, self.certain = True, False
            log.warning("%s: no file locks here (%s); going on without", self.path.parent, errno.errorcode[error.errno])
        if not acquired:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                _unlock(descriptor)
            os.close(descriptor)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock, waiting as long as another process has it.

    Args:
        path: The lock file; created if missing and never removed, since that would let two holders in.
        on_wait: Called once if the lock is taken.

    Raises:
        StorageError: The lock file cannot be created.
    """
    lock = FileLock(path)
    notified = False
    try:
        # Polled rather than blocking in the kernel, so that Ctrl+C works on every system.
        while not lock.acquire():
            if not notified and on_wait is not None:
                on_wait()
            notified = True
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        raise StorageError(
            "Folder is not writable",
            Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error),
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
        """Acquire the kind of lock SQLite uses, if it is free."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
