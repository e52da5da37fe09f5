"""Input of the plain chat: messages of one or more lines, and signals that ask it to exit.

The terminal is asked to bracket pastes, so that a paste is one message, whatever it contains, and is sent by the next
Enter. In a pipe, and on a terminal without bracketed paste, each line is a message. Nothing here depends on the
session; the caller waits in the main thread, where Python handles Ctrl+C.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from edgechat.chat.text_encoding import NotTextError, decoded, encoding_of
from edgechat.cli.terminal_output import control
from edgechat.runtime import shutdown_deadline
from edgechat.slash.completion import complete as ways_on

if TYPE_CHECKING:
    from types import FrameType

PROMPT = "> "
MORE = ". "
BLOCK = '"""'

BRACKETS_ON, BRACKETS_OFF = "\x1b[?2004h", "\x1b[?2004l"
PASTED, PASTED_END = "\x1b[200~", "\x1b[201~"
"""The brackets around a paste, where no line editor removes them."""


class Lines:
    """Messages from standard input."""

    def __init__(self, *, interactive: bool) -> None:
        """Set up without reading anything.

        Args:
            interactive: Whether to show a prompt.
        """
        self._interactive = interactive
        self._encoding = "utf-8"
        self._started = False

    def read(self) -> str | None:
        """Return the next message or command; None at the end of the input."""
        line = self._line(PROMPT)
        if line is None:
            return None
        if "\n" in line:  # pasted: none of its lines is a command
            return line.strip("\n")
        if line.startswith(BLOCK):
            return self._read_block(line.removeprefix(BLOCK))
        lines = []
        while line is not None and line.endswith("\\"):
            lines.append(line[:-1])
            line = self._line(MORE)
        return "\n".join([*lines, line] if line is not None else lines)

    def _read_block(self, line: str | None) -> str:
        """Return everything up to a line ending with three quotes, or to the end of the input."""
        lines: list[str] = []
        while line is not None:
            if line.endswith(BLOCK):
                lines.append(line.removesuffix(BLOCK))
                break
            lines.append(line)
            line = self._line(MORE)
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str | None:
        if sys.stdin is None:
            return None
        if not self._interactive:
            return self._piped_line()
        try:
            line = input(prompt)
            while PASTED in line and PASTED_END not in line.rpartition(PASTED)[2]:
                line += "\n" + input()
        except EOFError:
            sys.stdout.write("\n")
            return None
        finally:
            bracket_pastes(True)  # a line editor turns it off after each line, and a reply may take long
        return line.replace(PASTED, "").replace(PASTED_END, "")

    def _piped_line(self) -> str | None:
        source = sys.stdin.buffer
        if not self._started:
            self._started = True
            self._encoding = encoding_of(_first_bytes(source)) or "utf-8"
        end = "\n".encode(self._encoding)
        data = source.readline()
        while data and len(end) > 1 and not _ends(data, end) and (more := _up_to(source, data, len(end))):
            data += more
        if not data:
            return None
        return self._decoded(data).lstrip("\ufeff").rstrip("\r\n")

    def _decoded(self, data: bytes) -> str:
        if self._encoding != "utf-8":
            return data.decode(self._encoding, errors="replace")
        try:
            return decoded(data).text
        except NotTextError:
            return data.decode("utf-8", errors="replace")


def _first_bytes(source: BinaryIO) -> bytes:
    return source.peek(4) if isinstance(source, io.BufferedReader) else b""


def _ends(data: bytes, end: bytes) -> bool:
    return len(data) % len(end) == 0 and data.endswith(end)


def _up_to(source: BinaryIO, data: bytes, width: int) -> bytes:
    """Return the rest of the character in which a newline's byte was found, or of the line that continues after it."""
    return source.read(-len(data) % width) or source.readline()


def bracket_pastes(enabled: bool) -> None:
    """Turn bracketed paste on or off."""
    if os.environ.get("TERM", "dumb") != "dumb" and not _by_libedit():
        control(sys.stdout, BRACKETS_ON if enabled else BRACKETS_OFF)


def _by_libedit() -> bool:
    """Whether the line editor is libedit, which takes the brackets for keys."""
    return "libedit" in (getattr(sys.modules.get("readline"), "__doc__", None) or "")


class EndedError(BaseException):
    """The system asked the program to exit."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the chat like Ctrl+D, keeping the reply."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in before:  # a closing terminal signals more than once, and shutdown must not be interrupted
            signal.signal(each, signal.SIG_IGN)
        shutdown_deadline.start(128 + number)
        raise EndedError(number)

    if os.name != "posix":
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_to(interrupt: Callable[[], object]) -> Iterator[None]:
    """Make Ctrl+C call a function in the main thread instead of raising; if it is ignored it stays ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def use_readline(sent: Sequence[str]) -> None:
    """Enable line editing, recall and completion where Python has readline.

    Args:
        sent: Previously sent messages, newest last.
    """
    try:
        import readline
    except ImportError:
        return
    found: list[str] = []

    def complete(_word: str, number: int) -> str | None:
        if number == 0:
            typed, at = readline.get_line_buffer()[: readline.get_endidx()], readline.get_begidx()
            offered = ways_on(typed)
            # The part before the word being completed is already there, as in a path with a space.
            found[:] = [item.text[max(0, at - offered.start) :] for item in offered.items]
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    if "libedit" in (readline.__doc__ or ""):
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
        readline.parse_and_bind("set enable-bracketed-paste on")
        readline.parse_and_bind("set colored-completion-prefix off")
        readline.parse_and_bind("set page-completions off")
    for text in sent:
        if "\n" not in text:
            readline.add_history(text)
