"""Filters everything commands write to a terminal, so that it is shown but never interpreted.

`gated` filters standard output if it is a terminal, and standard error always, so that no command or library can forget
to. Control sequences of edgechat's own, such as for overwriting a line, are written with `control`. Standard output to
a file or a pipe is unchanged. The interface bypasses this filter and has one of its own.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from edgechat.chat.sanitize import printable

ERASE = "\r\x1b[K"
"""Clears the cursor's line."""
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class GatedStream(io.TextIOWrapper):
    """A text stream that removes all characters a terminal would interpret."""

    @classmethod
    def over(cls, stream: io.TextIOWrapper) -> GatedStream:
        """Wrap a stream, which must not be written to meanwhile."""
        stream.flush()
        return cls(stream.buffer, stream.encoding, stream.errors, line_buffering=True)

    @property
    def buffer(self) -> NoReturn:
        """Unavailable: click would use it to bypass the filter if it distrusts an encoding."""
        raise AttributeError("buffer")

    def write(self, text: str | bytes, /) -> int:
        """Write text, or bytes, as click does for completions."""
        words = text if isinstance(text, str) else bytes(text).decode(self.encoding or "utf-8", "replace")
        super().write(printable(words))
        return len(text)

    def writelines(self, lines: Iterable[str | bytes], /) -> None:  # type: ignore[override]
        """Write each of the items."""
        for line in lines:
            self.write(line)

    def write_control(self, sequence: str) -> None:
        """Write a control sequence unfiltered."""
        super().write(sequence)


def control(stream: object, sequence: str) -> None:
    """Send a terminal one of edgechat's own control sequences; does nothing if the stream is not a terminal."""
    if isinstance(stream, GatedStream) and stream.isatty():
        stream.write_control(sequence)
        stream.flush()


def write_line(parts: Iterable[tuple[str, bool]]) -> None:
    """Write a line to standard output; marked parts are bold on a terminal."""
    for text, marked in parts:
        if marked:
            control(sys.stdout, BOLD)
        sys.stdout.write(text)
        if marked:
            control(sys.stdout, PLAIN)
    sys.stdout.write("\n")


@contextmanager
def gated() -> Iterator[None]:
    """Filter the standard streams within the context."""
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
            gate.detach()  # otherwise the underlying stream would be closed with it; this flushes
