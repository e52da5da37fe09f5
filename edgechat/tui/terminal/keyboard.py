"""What the bytes from a terminal mean: keys, pastes, the mouse, and answers that nobody is to see."""

from __future__ import annotations

from codecs import getincrementaldecoder

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.geometry import Size
from textual.message import Message


class Keyboard:
    """Turns bytes into messages.

    Attributes:
        deadline: When `expire` is to be called, on the clock of the times given; None for never.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser()

    def feed(self, data: bytes, now: float) -> list[Message]:
        """Take bytes that came, and give what they mean."""
        self.deadline = now + 0.1
        return list(self._parser.feed(text)) if (text := self._decode(data)) else []

    def expire(self, now: float) -> list[Message]:
        """Nothing came for a while: give what was waiting."""
        self.deadline = None
        try:
            return list(self._parser.tick())
        except ParseError:
            return []

    def use_pixels(self, size: Size, pixels: Size | None) -> None:
        """The mouse tells pixels from now on."""
        self._parser.terminal_size, self._parser.terminal_pixel_size = size, pixels
