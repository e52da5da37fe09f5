"""Decodes bytes from a file or a pipe, or refuses them: not all programs write UTF-8.

Text is never made up: data with zero bytes that is not UTF-16 or UTF-32 is refused, and the result says if it was not
UTF-8, so that the caller can report or refuse it.
"""

from __future__ import annotations

import codecs
import locale
import re
from dataclasses import dataclass

from edgechat.i18n.catalog import _

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # starts like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_BINARY = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
"""Bytes that occur in no text; ESC and white space do occur in logs and listings."""

_LEAST_ZEROS = 0.2
"""Minimum share of zero bytes for UTF-16: two of five characters are then Latin."""


class NotTextError(ValueError):
    """The bytes are not text; the message says why, in the user's language."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding.

    Attributes:
        text: The text, without a byte order mark.
        encoding: "utf-8", a form of UTF-16 or UTF-32, or a guessed legacy encoding.
        replaced: Number of invalid sequences in otherwise valid UTF-8, each of which became U+FFFD.
        first_wrong: Position of the first byte that is not UTF-8, counted from 0; None if there is none, or if it is
            another Unicode encoding.
    """

    text: str
    encoding: str
    replaced: int = 0
    first_wrong: int | None = None


def decoded(data: bytes) -> Decoded:
    """Decode bytes.

    Raises:
        NotTextError: They are not text.
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
    """Return the Unicode encoding of bytes, which may be just the beginning; None if they are not text.

    Bytes in a legacy encoding also give UTF-8.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\0" not in data:
        return "utf-8"
    return next((encoding for encoding in _WIDE if _is_wide(data, encoding)), None)


def _is_wide(data: bytes, encoding: str) -> bool:
    """Whether bytes without a mark are UTF-16 or UTF-32: mostly Latin text then has many zero bytes."""
    if data.count(0) < _LEAST_ZEROS * len(data):
        return False
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)  # the beginning may end within a character
    except UnicodeDecodeError:
        return False
    latin = sum(character < "\u0250" for character in text)
    return _BINARY.search(text) is None and latin * 5 >= len(text) * 2


def _nearly(data: bytes, first_wrong: int) -> Decoded:
    """Decode invalid UTF-8: either UTF-8 with a few wrong bytes, or text in a legacy encoding."""
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
