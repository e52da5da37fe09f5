"""Makes sure a child process never outlives its parent, whatever it computes and however the parent ends.

A library that computes for minutes holds the GIL, so no Python thread can watch the parent meanwhile. On Linux the
kernel ends the child; elsewhere a separate process that only waits does. Windows has neither: there a child ends when
it next reads its input.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 3.0
"""Seconds a child has to exit by itself when a separate process is watching it."""

_PDEATHSIG = 1


def end_with(parent: int, number: int = getattr(signal, "SIGKILL", 9)) -> None:
    """End this process when its parent ends. Call before starting threads.

    Args:
        parent: The parent's process id as the parent reported it; it may have ended since. The thread that started this
            process has to stay alive.
        number: The signal to send.
    """
    if sys.platform == "win32":
        return
    if sys.platform == "linux":
        _request_death_signal(number)
    else:
        watch(parent, number)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the request


def _request_death_signal(number: int) -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, int(number), 0, 0, 0)


def watch(parent: int, number: int = getattr(signal, "SIGKILL", 9)) -> None:
    """Start a process that ends this one shortly after the parent has ended, and exits along with it."""
    if sys.platform == "win32":
        return
    child = os.getpid()
    if os.fork():
        return
    try:
        os.closerange(0, 256)  # readers of this process's output must see it close
        wait_for_either(parent, child)
        time.sleep(GRACE_SECONDS)
        if os.getppid() == child:  # otherwise it has ended, and its id may have been reused
            os.kill(child, number)
    finally:
        os._exit(0)


def wait_for_either(*processes: int) -> None:
    """Wait until one of these processes has ended."""
    with suppress(ProcessLookupError):
        if sys.platform == "linux":
            poll = select.poll()
            for pid in processes:
                poll.register(os.pidfd_open(pid), select.POLLIN)
            poll.poll()
        elif sys.platform != "win32":
            queue = select.kqueue()
            end, once = select.KQ_NOTE_EXIT, select.KQ_EV_ADD | select.KQ_EV_ONESHOT
            queue.control([select.kevent(pid, select.KQ_FILTER_PROC, once, end) for pid in processes], 1, None)
