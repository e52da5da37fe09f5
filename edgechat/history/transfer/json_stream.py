"""Reads a JSON file of any size, one chat at a time.

JSON parsers need all of it in memory and recurse with every bracket. This reader only finds the boundaries of items, in
memory bounded by the largest item, and counts brackets instead of recursing; whoever decodes an item validates it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from edgechat.errors import TransferError
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_ITEM = 64 << 20
"""Maximum bytes per chat; anything larger is not a chat that a person has had."""

DEEPEST = 128
"""Maximum nesting depth; the exports of all supported programs need fewer than twenty."""

LIST_KEY = "chats"
"""The member of an object whose elements are separate items."""

_CHUNK = 1 << 20
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING.pattern + rb")*+", re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^\s,\]}]*+")


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most that many bytes; none at the end."""


class Items:
    """The items of a file: the elements of a list, or the members of an object and the elements of its member "chats".

    Attributes:
        listed: Whether the file is a list; known once the first item has been requested.
    """

    def __init__(self, file: Readable) -> None:
        """Start at the current position of `file`, which is read without seeking."""
        self.listed = False
        self._file = file
        self._buffer = b""
        self._at = 0
        self._passed = 0

    def __iter__(self) -> Iterator[tuple[str | None, bytes]]:
        """Yield each item as the name of its member (None in a list) and its JSON text.

        Raises:
            TransferError: The file is not JSON, or an item is too large or too deeply nested.
            OSError: The file cannot be read.
        """
        if not self._buffer and self._more() and self._buffer.startswith(b"\xef\xbb\xbf"):
            self._at = 3
        if self._next() == b"[":
            self.listed = True
            for item in self._elements():
                yield None, item
        elif self._next() == b"{":
            yield from self._members()
        else:
            raise self._error("a list or an object was expected")
        if self._next():
            raise self._error("something follows the end")

    def _members(self) -> Iterator[tuple[str, bytes]]:
        self._expect(b"{")
        if self._next() == b"}":
            self._expect(b"}")
            return
        while True:
            if self._next() != b'"':
                raise self._error("a name was expected")
            try:
                key = msgspec.json.decode(self._value(), type=str)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._error(str(error)) from error
            self._expect(b":")
            if key == LIST_KEY and self._next() == b"[":
                for item in self._elements():
                    yield key, item
            else:
                yield key, self._value()
            if self._expect(b",", b"}") == b"}":
                return

    def _elements(self) -> Iterator[bytes]:
        self._expect(b"[")
        if self._next() == b"]":
            self._expect(b"]")
            return
        while True:
            yield self._value()
            if self._expect(b",", b"]") == b"]":
                return

    def _value(self) -> bytes:
        """Return the JSON text of the value that starts here."""
        first = self._next()
        if first == b'"':
            while (match := _STRING.match(self._buffer, self._at)) is None:
                self._read_on()
            return self._consume(match.end())
        if first not in (b"{", b"["):
            while (match := _SCALAR.match(self._buffer, self._at)) and match.end() == len(self._buffer):
                if not self._more():
                    break
            assert match is not None  # it also matches nothing
            if not match[0]:
                raise self._error("a value was expected")
            return self._consume(match.end())
        depth = 0
        place = self._at
        while True:
            match = _TO_BRACKET.match(self._buffer, place)
            assert match is not None  # it also matches nothing
            place = match.end()
            bracket = self._buffer[place : place + 1]
            if bracket in (b"", b'"'):  # the rest, or the end of a string, is yet to come
                place -= self._at
                self._read_on()
                place += self._at
                continue
            place += 1
            if bracket in (b"{", b"["):
                depth += 1
                if depth > DEEPEST:
                    raise self._error(f"it is nested more than {DEEPEST} levels deep")
            else:
                depth -= 1
            if depth == 0:
                return self._consume(place)

    def _consume(self, end: int) -> bytes:
        """Consume and return the text up to that position."""
        value = self._buffer[self._at : end]
        self._at = end
        return value

    def _next(self) -> bytes:
        """Peek at the next byte that is not white space; empty at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            assert match is not None  # it also matches nothing
            self._at = match.end()
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def _expect(self, *expected: bytes) -> bytes:
        found = self._next()
        if found not in expected:
            raise self._error(f"{' or '.join(letter.decode() for letter in expected)} was expected")
        self._at += 1
        return found

    def _read_on(self) -> None:
        if not self._more():
            raise self._error("it ends in the middle of a value")

    def _more(self) -> bool:
        """Read more, doubling the buffer, so that a long string is not searched over and over."""
        waiting = self._buffer[self._at :]
        if len(waiting) > LARGEST_ITEM:
            raise self._error(f"one chat is larger than {LARGEST_ITEM >> 20} MB")
        self._passed += self._at
        self._at = 0
        new = self._file.read(max(_CHUNK, len(waiting)))
        self._buffer = waiting + new
        return bool(new)

    def _error(self, what: str) -> TransferError:
        return TransferError(
            "Not a file of chats",
            Sentence("At byte {value}: {what}.", value=self._passed + self._at, what=what),
            "Is it whole? Export it again.",
        )
