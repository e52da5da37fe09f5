"""Memory and CPU limits that Linux control groups impose on this process: its own group and every one above it.

A container or a service may see the groups of the whole machine above it, or find its own at the top. Version 1,
version 2 and both at once are in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TOP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_left(top: Path = TOP, own: Path = OWN) -> int | None:
    """Return the bytes that can still be allocated; None if no group limits them."""
    left: list[int] = []
    for group in _groups("", top, own):
        # Beyond `high` nothing is killed, but everything stalls until memory is reclaimed.
        for limit in ("memory.max", "memory.high"):
            left += _remaining(group, limit, "memory.current", "inactive_file")
    for group in _groups("memory", top, own):
        left += _remaining(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(left, default=None)


def processors(top: Path = TOP, own: Path = OWN) -> float | None:
    """Return the CPU quota in processors, such as 0.5; None if no group limits it."""
    found: list[float] = []
    for group in _groups("", top, own):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text("ascii").split()
            found.append(int(quota) / int(period))  # int("max") fails
    for group in _groups("cpu", top, own):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota_us = int((group / "cpu.cfs_quota_us").read_text("ascii"))
            if quota_us > 0:
                found.append(quota_us / int((group / "cpu.cfs_period_us").read_text("ascii")))
    return min((one for one in found if one > 0), default=None)


def _groups(controller: str, top: Path, own: Path) -> Iterator[Path]:
    """Yield the groups this process is in, its own first.

    Args:
        controller: Name of a version 1 controller; empty for version 2.
        top: Where the groups are mounted.
        own: The kernel's list of this process's groups.
    """
    try:
        lines = own.read_text("utf-8", "replace").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controller in controllers.split(",")) if controller else not controllers:
            # Inside a namespace a group above it is written with "..": only the one at the top is visible.
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


def _remaining(group: Path, limit: str, used: str, idle: str) -> Iterator[int]:
    """Yield the bytes a memory group has left. Cached file pages it is not using are reclaimed on demand."""
    with suppress(OSError, ValueError):
        most = int((group / limit).read_text("ascii"))  # int("max") fails
        used_bytes = int((group / used).read_text("ascii"))
        with suppress(OSError, IndexError):
            stat = (group / "memory.stat").read_text("ascii").split()
            used_bytes -= int(stat[stat.index(idle) + 1]) if idle in stat else 0
        yield max(0, most - used_bytes)
