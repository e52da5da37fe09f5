"""Rights that hold for whoever runs the tests, root included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def bound_by_rights(folder: Path) -> Iterator[None]:
    """Rights do not hold root back: become nobody for a while, who owns the folder, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    for name in (folder, *folder.rglob("*")):
        os.chown(name, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
