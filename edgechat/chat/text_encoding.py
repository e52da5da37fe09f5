"""Bytes from a file or a pipe made text, or refused: programs write UTF-8, but also UTF-16 and what Windows once used.

A text is never made up: what has zero bytes and is no UTF-16 or UTF-32 is refused, and what was not UTF-8 is told, so
that whoever reads it can say so or refuse it too.
"""

from __future__ import annotations

import codecs
import locale
import re
from dataclasses import dataclass

from edgechat.i18n.catalog import _

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_BINARY = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
"""What no text has; ESC and the white space are in logs and listings."""

_LEAST_ZEROS = 0.2
"""Share of zero bytes from which they are UTF-16's: two of five characters are Latin then."""


class NotTextError(ValueError):
    """The bytes are no text; the message says why, in the user's language."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Bytes as text.

    Attributes:
        text: Without a byte order mark.
        encoding: What they were: "utf-8", one of UTF-16 or UTF-32, or an older encoding that was guessed.
        replaced: Sequences that are not UTF-8 in what else is, each of which became U+FFFD.
        first_wrong: The first byte that is not UTF-8, counted from 0; None where all are, or another Unicode form.
    """

    text: str
    encoding: str
    replaced: int = 0
    first_wrong: int | None = None


def decoded(data: bytes) -> Decoded:
    """The text that the bytes are.

    Raises:
        NotTextError: They are no text.
    """
    encoding = encoding_of(data)
    if encoding is None:
        raise NotTextError(_("It holds zero bytes, as programs and pictures do."))
    mark = next((mark for mark, marked in _MARKS if marked == encoding and data.startswith(mark)), b"")
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise NotTextError(_("It begins as {encoding} does, and is none.").format(encoding=encoding)) from error
        return _nearly(data, error.start)
    if "\0" in text:
        raise NotTextError(_("It holds zero bytes, as programs and pictures do."))
    return Decoded(text, encoding)


def encoding_of(data: bytes) -> str | None:
    """The Unicode form that the bytes, or the beginning of them, are written in; None if they are no text.

    UTF-8 is also the answer for bytes of an older encoding.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\0" not in data:
        return "utf-8"
    return next((encoding for encoding in _WIDE if _is_wide(data, encoding)), None)


def _is_wide(data: bytes, encoding: str) -> bool:
    """Whether bytes without a mark are UTF-16 or UTF-32, in which mostly Latin text has many zero bytes."""
    if data.count(0) < _LEAST_ZEROS * len(data):
        return False
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)  # a beginning may end within a character
    except UnicodeDecodeError:
        return False
    latin = sum(character < "\u0250" for character in text)
    return _BINARY.search(text) is None and latin * 5 >= len(text) * 2


def _nearly(data: bytes, first_wrong: int) -> Decoded:
    """What is not quite UTF-8: UTF-8 with a few bytes that are not, or a text of an older encoding."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    if _BINARY.search(text):
        raise NotTextError(_("Byte {n:,} is not UTF-8.").format(n=first_wrong + 1))
    if sum(character > "\x7f" for character in text) >= 2 * wrong:
        return Decoded(text, "utf-8", wrong, first_wrong)
    old = codecs.lookup(locale.getpreferredencoding(False)).name
    if old in ("utf-8", "ascii"):
        old = "cp1252"
    return Decoded(data.decode(old, "replace"), old, first_wrong=first_wrong)
