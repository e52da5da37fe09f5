"""Makes text from a model folder safe to print on a terminal.

File names, metadata and settings come from the model's author. They may contain escape sequences, invalid Unicode or a
megabyte of text, none of which may reach the user through an error or a table.
"""

from __future__ import annotations

from edgechat.chat.sanitize import one_line as shown

__all__ = ["shown", "size_text"]


def size_text(size: int) -> str:
    """Format a size in bytes, such as "93.8 MB", in powers of ten as on disk labels."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
