"""Memory limits for the process that opens a model, against models that request unlimited memory.

They are far above what any model needs, because killing a sound one would be worse, and reserved address space is not
yet memory. Within them a library that requests too much gets an error it can report; and if memory does run out, the
system kills this process rather than the user's other programs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

SLACK = 1024 * 1024 * 1024
"""Bytes that libraries may reserve without ever touching them."""

_STACK_BYTES = 16 * 1024 * 1024
"""Bytes of address space for thread stacks, per processor."""

_OOM_SCORE = 300


def bound_memory(free: int, folder: Path) -> None:
    """Limit what this process can allocate; only on Linux, where the limit counts the right thing.

    Args:
        free: Available bytes, not counting swap.
        folder: The model folder, whose files may be mapped in addition.
    """
    if sys.platform != "linux":
        return
    import resource

    with suppress(OSError, ValueError, LookupError):
        most = _used() + free + _swap() + _size(folder) + SLACK + _STACK_BYTES * (os.cpu_count() or 1)
        _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _used() -> int:
    """Return the bytes that already count towards the limit."""
    return _kilobytes("/proc/self/status", "VmData:")


def _swap() -> int:
    return _kilobytes("/proc/meminfo", "SwapFree:")


def _kilobytes(file: str, name: str) -> int:
    lines = Path(file).read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
