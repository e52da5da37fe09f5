"""Helpers shared by the importers: safe decoding, times, text, and notes for the user.

An export may contain what a text chat cannot: images, files, tool calls. A placeholder in brackets replaces them, and
they are counted for the final report; nothing is dropped silently.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from edgechat.chat.sanitize import storable
from edgechat.errors import TransferError

if TYPE_CHECKING:
    from collections import Counter

T = TypeVar("T")

# Either an escaped backslash or a surrogate pair, which are kept, or half of a pair, which UTF-8 cannot represent.
_HALF_PAIR = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def decode(raw: bytes, form: type[T]) -> T:
    """Decode an item of a file into the expected type. Lone surrogates become U+FFFD.

    Raises:
        TransferError: It is not JSON or has another format; the message says where.
    """
    try:
        return msgspec.json.decode(_HALF_PAIR.sub(lambda match: match[1] or rb"\ufffd", raw), type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError("Not a chat", f"{error}.", "Is the file whole? Export it again.") from error


def seconds(time: float | None, otherwise: float = 0.0) -> float:
    """Convert a time in seconds, milli-, micro- or nanoseconds since the epoch, as exports have them, to seconds."""
    if time is None or time <= 0:
        return otherwise
    while time > 1e11:
        time /= 1000
    return float(time)


def utc(time: Any) -> float:
    """Convert a date and time from an SQLite file to seconds since the epoch; 0 if it is not one."""
    try:
        read = datetime.fromisoformat(time)
        return max(0.0, (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def count_of(value: Any) -> int:
    """Convert a number of tokens; 0 if it is not one."""
    return value if type(value) is int and 0 <= value < 2**53 else 0


def texts(value: Any, notes: Counter[str]) -> list[str]:
    """Return the text of a column, if there is any.

    Raises:
        TransferError: It is not text.
    """
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        raise TransferError("Log is damaged", "It holds something else where a text belongs.", "Copy it again.")
    return [text_of(value, notes)]


def text_of(text: str, notes: Counter[str]) -> str:
    """Make text storable in the history."""
    text, replaced = storable(text)
    if replaced:
        notes["characters that are not text were replaced by \ufffd"] += replaced
    return text


def title_of(title: str | None, notes: Counter[str]) -> str:
    """Return a title on one line."""
    return " ".join(text_of(title or "", notes).split())


def placeholder(kind: str, name: Any, notes: Counter[str]) -> str:
    """Return the placeholder for something other than text."""
    notes[f"{kind}s could not be taken along, and are named in the text"] += 1
    label = " ".join(name.split())[:200] if isinstance(name, str) else ""
    return f"[{kind}: {label}]" if label else f"[{kind}]"
