"""What the control groups of Linux leave this process of memory and processors: its own, and every one above it.

A container or a service has the groups of a whole machine above it, or finds its own at the top; version 1, version 2
and both at once are in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TOP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_left(top: Path = TOP, own: Path = OWN) -> int | None:
    """Bytes that may still be taken; None where no group bounds them."""
    left: list[int] = []
    for group in _groups("", top, own):
        # At `high` nothing is ended, but everything waits for memory to be given back.
        for limit in ("memory.max", "memory.high"):
            left += _left(group, limit, "memory.current", "inactive_file")
    for group in _groups("memory", top, own):
        left += _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(left, default=None)


def processors(top: Path = TOP, own: Path = OWN) -> float | None:
    """Processors' worth of time, such as 0.5; None where no group bounds it."""
    found: list[float] = []
    for group in _groups("", top, own):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text("ascii").split()
            found.append(int(quota) / int(period))  # "max" is no number
    for group in _groups("cpu", top, own):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota_us = int((group / "cpu.cfs_quota_us").read_text("ascii"))
            if quota_us > 0:
                found.append(quota_us / int((group / "cpu.cfs_period_us").read_text("ascii")))
    return min((one for one in found if one > 0), default=None)


def _groups(controller: str, top: Path, own: Path) -> Iterator[Path]:
    """The groups this process is in, its own first.

    Args:
        controller: Of version 1; empty is version 2.
        top: Where groups are mounted.
        own: What the kernel says of this process.
    """
    try:
        lines = own.read_text("utf-8", "replace").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controller in controllers.split(",")) if controller else not controllers:
            # From within a namespace a group above it is written with "..": the one at the top is all that can be seen.
            parts = [part for part in path.split("/") if part]
            parts = [] if ".." in parts else parts
            for mounted in _mounts(controller, controllers, top):
                for depth in range(len(parts), -1, -1):
                    yield mounted.joinpath(*parts[:depth])


def _mounts(controller: str, controllers: str, top: Path) -> Iterator[Path]:
    if not controller:
        yield top / "unified" if (top / "unified").is_dir() else top
        return
    yield from dict.fromkeys(place for place in (top / controllers, top / controller) if place.is_dir())


def _left(group: Path, limit: str, used: str, idle: str) -> Iterator[int]:
    """Bytes a memory group leaves. What it holds of files it has read and does not use is given back when needed."""
    with suppress(OSError, ValueError):
        most = int((group / limit).read_text("ascii"))  # "max" is no number
        taken = int((group / used).read_text("ascii"))
        with suppress(OSError, IndexError):
            stat = (group / "memory.stat").read_text("ascii").split()
            taken -= int(stat[stat.index(idle) + 1]) if idle in stat else 0
        yield max(0, most - taken)
