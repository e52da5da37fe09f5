"""Words taken from a model folder, made fit for a message on a terminal.

File names, metadata and settings of a model were written by whoever made it. They may hold escape sequences, broken
Unicode or a megabyte of text; none of that may reach the user through an error or a table.
"""

from __future__ import annotations

from edgechat.chat.sanitize import one_line as shown

__all__ = ["shown", "size_text"]


def size_text(size: int) -> str:
    """A number of bytes as people read it: "93.8 MB", in powers of ten as disks are sold."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
