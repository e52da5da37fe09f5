"""Which process writes a reply, and whether it still lives.

A reply marked as streaming is either being written by another window or was cut off by a crash; only the writer's fate
tells which. A wrong answer must stay harmless: the store never lets it cost text.
"""

from __future__ import annotations

import os
from pathlib import Path

_SLACK = 2.0
"""Seconds by which a start time may differ where it is derived from a clock that is corrected now and then."""


def this_process() -> str:
    """The name under which this process signs the replies it writes: pid, start and boot."""
    return f"{os.getpid()}:{_started(os.getpid()):.2f}:{_boot()}"


def lives(writer: str | None) -> bool:
    """Whether the process that signed with `writer` still runs on this start of the machine."""
    import psutil  # a few milliseconds that the first paint need not wait for

    try:
        pid, started, boot = (writer or "").split(":", 2)
        if boot != _boot() or abs(_started(int(pid)) - float(started)) > _SLACK:
            return False  # the pid has been given to another process
        # A killed process that nobody waited for keeps its pid, but writes no more.
        return psutil.Process(int(pid)).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True


def _started(pid: int) -> float:
    """When a process started: in seconds since the machine did, where the system tells, which no clock moves."""
    import psutil

    try:
        # The name, which may hold anything, is in brackets; the start is the 22nd of all fields, in hundredths.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, LookupError, ValueError):
        return float(psutil.Process(pid).create_time())


def _boot() -> str:
    """A token of this start of the machine where the system has one: pids and, without a clock chip, times repeat."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""
