"""Bounds on the memory of the process that opens a model, against models that ask for it without end.

They are far above what any model needs, since to end a sound one would be worse: address space that is asked for is not
yet memory. Within them a library that asks for too much is told so, and says it in words; and should memory run out
after all, it is this process that the system ends, not the user's other programs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

SLACK = 1024 * 1024 * 1024
"""Bytes that libraries may ask for and never touch."""

_A_THREAD = 16 * 1024 * 1024
"""Bytes of address space for the stacks of threads, for each processor."""

_OOM_SCORE = 300


def bound_memory(free: int, folder: Path) -> None:
    """Bound what this process may ask for; on Linux only, where the bound counts what it is meant to.

    Args:
        free: Bytes that may be taken now, swap aside.
        folder: The model's; its files may be mapped on top.
    """
    if sys.platform != "linux":
        return
    import resource

    with suppress(OSError, ValueError, LookupError):
        most = _held() + free + _swap() + _size(folder) + SLACK + _A_THREAD * (os.cpu_count() or 1)
        _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _held() -> int:
    """Bytes that count for the bound already."""
    return _kilobytes("/proc/self/status", "VmData:")


def _swap() -> int:
    return _kilobytes("/proc/meminfo", "SwapFree:")


def _kilobytes(file: str, name: str) -> int:
    lines = Path(file).read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
