"""What comes into the linear chat: messages of one line or more, and signals that ask it to end.

Nothing here knows the session; whoever reads waits in the main thread, where Python hears Ctrl+C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgechat.runtime import deadline
from edgechat.slash.table import complete as ways_on

if TYPE_CHECKING:
    from types import FrameType

PROMPT = "> "
MORE = ". "
BLOCK = '"""'


class Lines:
    """Messages from standard input."""

    def __init__(self, *, interactive: bool) -> None:
        """Nothing is read yet.

        Args:
            interactive: Whether a person is prompted for them.
        """
        self._interactive = interactive

    def read(self) -> str | None:
        """The next message or command; None at the end of the input."""
        line = self._line(PROMPT)
        if line is None:
            return None
        if line.startswith(BLOCK):
            return self._read_block(line.removeprefix(BLOCK))
        lines = []
        while line is not None and line.endswith("\\"):
            lines.append(line[:-1])
            line = self._line(MORE)
        return "\n".join([*lines, line] if line is not None else lines)

    def _read_block(self, line: str | None) -> str:
        """All up to the line that ends with three quotes, or up to the end of the input."""
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
        if self._interactive:
            try:
                return input(prompt)
            except EOFError:
                sys.stdout.write("\n")
                return None
        data = sys.stdin.buffer.readline()
        return data.decode("utf-8", errors="replace").rstrip("\r\n") if data else None


class EndedError(BaseException):
    """The system asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the chat as Ctrl+D does: the reply kept."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in before:  # a terminal that closes says so more than once, and the end is not to be disturbed
            signal.signal(each, signal.SIG_IGN)
        deadline.begin(128 + number)
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


def use_readline(sent: Sequence[str]) -> None:
    """Editing, recalling and completing where Python has readline; without, lines are read as the terminal gives them.

    Args:
        sent: Messages sent before, the newest at the end.
    """
    try:
        import readline
    except ImportError:
        return
    found: list[str] = []

    def complete(_word: str, number: int) -> str | None:
        if number == 0:
            begun, at = readline.get_line_buffer()[: readline.get_endidx()], readline.get_begidx()
            offered = ways_on(begun)
            # What is in front of the word being completed is there already, as in a path with a space.
            found[:] = [item.text[max(0, at - offered.start) :] for item in offered.items]
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    if "libedit" in (readline.__doc__ or ""):
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
        # It would write escape sequences; a pasted block goes between three quotes.
        readline.parse_and_bind("set enable-bracketed-paste off")
        readline.parse_and_bind("set colored-completion-prefix off")
        readline.parse_and_bind("set page-completions off")
    for text in sent:
        if "\n" not in text:
            readline.add_history(text)
