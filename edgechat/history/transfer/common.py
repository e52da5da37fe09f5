"""What the readers of other programs' exports share: decoding without fear, times, text, and what people are told.

An export may hold what a chat of text cannot: images, files, tools. In its place stands a word in brackets, and how
often that happened is counted for the end; nothing is left out in silence.
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

# Either an escaped backslash or a whole pair, which stay, or half of a pair, which no UTF-8 can hold.
_HALF_PAIR = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def decode(raw: bytes, form: type[T]) -> T:
    """An item of a file in the form that is expected of it. Half surrogate pairs become U+FFFD.

    Raises:
        TransferError: It is not JSON, or of another form; the message says where.
    """
    try:
        return msgspec.json.decode(_HALF_PAIR.sub(lambda match: match[1] or rb"\ufffd", raw), type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError("Not a chat", f"{error}.", "Is the file whole? Export it again.") from error


def seconds(time: float | None, otherwise: float = 0.0) -> float:
    """Seconds since the epoch from those, or from milli-, micro- or nanoseconds, as exports have them."""
    if time is None or time <= 0:
        return otherwise
    while time > 1e11:
        time /= 1000
    return float(time)


def utc(time: Any) -> float:
    """Seconds since the epoch from a date and time as SQLite files hold them; 0 for what is none."""
    try:
        read = datetime.fromisoformat(time)
        return max(0.0, (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def count_of(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if type(value) is int and 0 <= value < 2**53 else 0


def texts(value: Any, notes: Counter[str]) -> list[str]:
    """The text of a column, if there is any.

    Raises:
        TransferError: There is something else.
    """
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        raise TransferError("Log is damaged", "It holds something else where a text belongs.", "Copy it again.")
    return [text_of(value, notes)]


def text_of(text: str, notes: Counter[str]) -> str:
    """Text that the history can hold."""
    text, replaced = storable(text)
    if replaced:
        notes["characters that are not text were replaced by \ufffd"] += replaced
    return text


def title_of(title: str | None, notes: Counter[str]) -> str:
    """A title, on one line."""
    return " ".join(text_of(title or "", notes).split())


def instead(kind: str, name: Any, notes: Counter[str]) -> str:
    """The words that stand where something other than text was."""
    notes[f"{kind}s could not be taken along, and are named in the text"] += 1
    shown = " ".join(name.split())[:200] if isinstance(name, str) else ""
    return f"[{kind}: {shown}]" if shown else f"[{kind}]"
