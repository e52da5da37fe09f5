"""Identifies the process writing a reply, and whether it is still alive.

A reply marked as streaming is either being written by another window or was cut off by a crash, which only the writer's
fate tells. A wrong answer must be harmless: the store never lets it cost text.
"""

from __future__ import annotations

import os
from pathlib import Path

_SLACK = 2.0
"""Tolerance in seconds for start times derived from a clock that is occasionally corrected."""


def this_process() -> str:
    """Return the signature of this process for replies it writes: pid, start time and boot id."""
    return f"{os.getpid()}:{_start_time(os.getpid()):.2f}:{_boot()}"


def is_alive(writer: str | None) -> bool:
    """Whether the process with the signature `writer` is still running since this boot."""
    import psutil  # slow, and not needed for the first paint

    try:
        pid, started, boot = (writer or "").split(":", 2)
        if boot != _boot() or abs(_start_time(int(pid)) - float(started)) > _SLACK:
            return False  # the pid was reused
        # A zombie keeps its pid but no longer writes.
        return psutil.Process(int(pid)).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True


def _start_time(pid: int) -> float:
    """Return a process's start time: in seconds since boot if available, which clock changes do not affect."""
    import psutil

    try:
        # The name, which may contain anything, is in brackets; the start time is field 22, in hundredths of a second.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, LookupError, ValueError):
        return float(psutil.Process(pid).create_time())


def _boot() -> str:
    """Return the boot id if the system has one: pids repeat, and without a clock chip so do times."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""
