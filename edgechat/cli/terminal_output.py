"""The one gate between commands and the terminal: what is written is shown, never obeyed.

`gated` puts it in front of standard output, where that is a terminal, and of standard error, always, so that no command
and no library can forget it. What edgechat itself wants a terminal to do, such as writing a line over, is said with
`control`. Standard output in a file or a pipe stays exactly what was written. The interface draws past this gate, and
has one of its own.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from edgechat.chat.sanitize import printable

ERASE = "\r\x1b[K"
"""Takes the line away in which the cursor is."""
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class GatedStream(io.TextIOWrapper):
    """A text stream in whose text no character is left that a terminal would obey."""

    @classmethod
    def over(cls, stream: io.TextIOWrapper) -> GatedStream:
        """Put a gate in front of a stream, which is not to be written to meanwhile."""
        stream.flush()
        return cls(stream.buffer, stream.encoding, stream.errors, line_buffering=True)

    @property
    def buffer(self) -> NoReturn:
        """Not to be had: click writes to it where it distrusts an encoding, past the gate."""
        raise AttributeError("buffer")

    def write(self, text: str | bytes, /) -> int:
        """Write text; bytes are text too, for click writes its completions as such."""
        words = text if isinstance(text, str) else bytes(text).decode(self.encoding or "utf-8", "replace")
        super().write(printable(words))
        return len(text)

    def writelines(self, lines: Iterable[str | bytes], /) -> None:  # type: ignore[override]
        """Write each of them."""
        for line in lines:
            self.write(line)

    def obeyed(self, sequence: str) -> None:
        """Write what the terminal is to obey."""
        super().write(sequence)


def control(stream: object, sequence: str) -> None:
    """Have a terminal obey a sequence of edgechat's own; nothing is written where no terminal is."""
    if isinstance(stream, GatedStream) and stream.isatty():
        stream.obeyed(sequence)
        stream.flush()


def write_line(parts: Iterable[tuple[str, bool]]) -> None:
    """Write a line to standard output; the parts that are marked are bold on a terminal."""
    for text, marked in parts:
        if marked:
            control(sys.stdout, BOLD)
        sys.stdout.write(text)
        if marked:
            control(sys.stdout, PLAIN)
    sys.stdout.write("\n")


@contextmanager
def gated() -> Iterator[None]:
    """Put the gate in front of the standard streams, and take it away again."""
    before = sys.stdout, sys.stderr
    gates: list[GatedStream] = []
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.isatty():
        gates.append(GatedStream.over(sys.stdout))
        sys.stdout = gates[-1]
    if isinstance(sys.stderr, io.TextIOWrapper):
        gates.append(GatedStream.over(sys.stderr))
        sys.stderr = gates[-1]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for gate in gates:
            gate.detach()  # else the stream behind it would be closed with it; it flushes
