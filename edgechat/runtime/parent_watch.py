"""A child that never outlives its parent, whatever it computes and however the parent ends.

A library that computes for minutes holds Python's lock, so no thread of Python can look after the parent meanwhile. On
Linux the kernel itself ends the child; elsewhere another process, which does nothing but wait, does it. Windows has
neither: there a child ends when it next reads its input.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 3.0
"""How long a child may take to end by itself where another process looks after it."""

_PDEATHSIG = 1


def end_with(parent: int, number: int = getattr(signal, "SIGKILL", 9)) -> None:
    """End this process when its parent ends. Call it before there are threads.

    Args:
        parent: The parent's process id, as the parent itself told it; it may have ended since. The thread that started
            this process has to live as long as this is wanted.
        number: The signal that ends it.
    """
    if sys.platform == "win32":
        return
    if sys.platform == "linux":
        _ask_the_kernel(number)
    else:
        watch(parent, number)
    if os.getppid() != parent:
        os._exit(1)  # before it could be asked for


def _ask_the_kernel(number: int) -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, int(number), 0, 0, 0)


def watch(parent: int, number: int = getattr(signal, "SIGKILL", 9)) -> None:
    """Start a process that ends this one some time after that parent has ended; it ends with this one."""
    if sys.platform == "win32":
        return
    child = os.getpid()
    if os.fork():
        return
    try:
        os.closerange(0, 256)  # whoever reads what this one writes must see its end
        wait_for_either(parent, child)
        time.sleep(GRACE_SECONDS)
        if os.getppid() == child:  # else it has ended, and the number may be another's
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
