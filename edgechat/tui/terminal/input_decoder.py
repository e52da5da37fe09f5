"""From a terminal's bytes to text, whatever the bytes are.

Terminals send UTF-8, but for those that were set up for another charset long ago (a serial console, an old PuTTY) and
for noise on the line. A byte that cannot be UTF-8 is taken for a letter of the other charset, so that an umlaut stays
one; it never ends anything.
"""

from __future__ import annotations

import codecs
import locale
from contextlib import suppress

_WESTERN = "cp1252"
"""What nearly all terminals speak that speak neither UTF-8 nor the charset of the locale: Latin-1, with a few more."""


def _letter(byte: int, charset: str) -> str:
    for name in (charset, _WESTERN):
        with suppress(UnicodeDecodeError, LookupError):
            if (text := bytes((byte,)).decode(name)).isprintable():
                return text
    return "\u00a0" if byte == 0xA0 else "\ufffd"


def _locale_charset() -> str:
    """The charset of the locale, which Python's UTF-8 mode hides."""
    try:
        return codecs.lookup(locale.getencoding()).name
    except LookupError:
        return "utf-8"


def _decoder(charset: str) -> codecs.IncrementalDecoder:
    """A decoder that takes every byte."""
    if not _is_like_ascii(charset):
        charset = _WESTERN
    elif not _has_a_letter_a_byte(charset):
        return codecs.getincrementaldecoder(charset)("replace")  # as GB18030: only it knows where a letter ends

    def mend(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        return "".join(_letter(byte, charset) for byte in error.object[error.start : error.end]), error.end

    name = f"edgechat.{charset}"
    codecs.register_error(name, mend)
    return codecs.getincrementaldecoder("utf-8")(name)


def _is_like_ascii(charset: str) -> bool:
    """Whether it adds something to ASCII and changes nothing of it; what changes it, no terminal speaks."""
    ascii_bytes = bytes(range(128))
    with suppress(UnicodeError, LookupError):
        return charset not in ("ascii", "utf-8") and ascii_bytes.decode(charset) == ascii_bytes.decode("ascii")
    return False


def _has_a_letter_a_byte(charset: str) -> bool:
    with suppress(UnicodeError):
        return len(bytes((0xE9, 0xE9)).decode(charset, "replace")) == 2 and bool(bytes((0xE9,)).decode(charset))
    return False


class Decoder:
    """Decodes a stream of bytes in pieces that may begin and end anywhere."""

    def __init__(self, charset: str | None = None) -> None:
        """Nothing was read yet.

        Args:
            charset: For bytes that are not UTF-8; None is that of the locale.
        """
        self._decoder = _decoder(charset or _locale_charset())

    def feed(self, data: bytes) -> str:
        """Decode what is complete of it."""
        return self._decoder.decode(data)

    @property
    def waiting(self) -> bool:
        """Whether a character has begun and not ended."""
        return bool(self._decoder.getstate()[0])

    def flush(self) -> str:
        """Nothing came for a while: decode what is left, of which no more will come."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
