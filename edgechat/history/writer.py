"""Which process writes a reply, and whether it still lives.

A reply marked as streaming is either being written by another window or was cut off by a crash; only the writer's fate
tells which. A wrong answer must stay harmless: the store never lets it cost text.
"""

from __future__ import annotations

import os
from pathlib import Path

_CLOCK_SLACK = 2.0  # the system derives a start time from the clock; small corrections of the clock move it


def this_process() -> str:
    """The name under which this process signs the replies it writes: pid, start time and boot."""
    import psutil  # a few milliseconds that the first paint need not wait for

    return f"{os.getpid()}:{psutil.Process().create_time():.2f}:{_boot()}"


def lives(writer: str | None) -> bool:
    """Whether the process that signed with `writer` still runs on this start of the machine."""
    import psutil

    try:
        pid, started, boot = (writer or "").split(":", 2)
        process = psutil.Process(int(pid))
        if boot != _boot() or abs(process.create_time() - float(started)) > _CLOCK_SLACK:
            return False  # the pid has been given to another process
        # A killed process that nobody waited for keeps its pid, but writes no more.
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True


def _boot() -> str:
    """A token of this start of the machine where the system has one: pids and, without a clock chip, times repeat."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""
