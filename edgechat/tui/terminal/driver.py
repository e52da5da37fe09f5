"""Edgechat's own way to the terminal, on systems that have one: everything read and everything written passes here.

Textual's driver ends the program over a byte that is not UTF-8, hangs where the terminal is gone, and waits for one
that does not read. Here the event loop itself reads, so that there is no thread to fail or to wait for, and a thread
that nobody waits for writes. Only what touches the terminal is here: what its bytes mean is `keyboard`'s.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import tty
from base64 import b64encode
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, runtime_checkable

from textual import constants, events
from textual.drivers.linux_driver import (
    KITTY_DISAMBIGUATE_ESCAPE_CODES,
    KITTY_REPORT_ALL_KEYS,
    KITTY_REPORT_ASSOCIATED_TEXT,
    LinuxDriver,
)
from textual.geometry import Size
from textual.message import Message

from edgechat.runtime import shutdown_deadline
from edgechat.tui import rtl
from edgechat.tui.terminal import output_gate
from edgechat.tui.terminal.key_parser import Keyboard
from edgechat.tui.terminal.output_writer import TerminalWriter

CLOSING_SECONDS = 1.0
"""How long a terminal may take for what gives it back to the user."""

RELEASE_SECONDS = 0.3
"""The same where the process is ended by force."""

CHUNK = 64 * 1024
"""Bytes read at once."""

LARGEST = (1000, 500)
"""Columns and rows that are drawn at the most, whatever a terminal says of itself."""

LEAVE = (
    "\x1b[?2026l"  # what was begun to be drawn is shown
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # no bracketed paste, wrapped lines, no reports of the size
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # no mouse
    "\x1b[<u"  # no keys of kitty's; before the screen changes, which has keys of its own
    "\x1b[?1049l\x1b[?25h\x1b[?1004l"  # the screen that was there before, a cursor, no reports of the focus
)
"""What gives the terminal back to the user."""


@runtime_checkable
class TerminalOwner(Protocol):
    """An app that wants to know when its terminal is gone."""

    def terminal_gone(self) -> None:
        """There is nobody left to read or to write for."""


class TerminalDriver(LinuxDriver):
    """Reads keys from the terminal, and writes to it."""

    def __init__(self, app: Any, **options: Any) -> None:
        """Make the driver; see `Driver`."""
        super().__init__(app, **options)
        self._output = _output()
        self._writer: TerminalWriter | None = None
        self._keyboard = Keyboard()
        self._reading = False
        self._tick: asyncio.TimerHandle | None = None
        self._attributes_found: list[Any] | None = None

    # Output

    def write(self, data: str) -> None:
        """Write to the terminal. Whatever is drawn, and every mode that is set, goes this way and no other."""
        if self._writer is not None:
            self._writer.write(output_gate.passed(data))

    def set_clipboard(self, text: str) -> None:
        """Ask the terminal to keep a text in its clipboard; it does not say whether it did."""
        if self._writer is not None:
            self._writer.write(f"\x1b]52;c;{b64encode(text.encode(errors='replace')).decode()}\x07")

    def _draw_again(self) -> None:
        """The terminal did not read for a while, and something was left out."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(partial(self._app.refresh, layout=True))

    # Input

    def _read(self) -> None:
        if not select.select([self.fileno], [], [], 0)[0]:  # somebody else was faster, and reading would wait
            return
        try:
            data = os.read(self.fileno, CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.disable_input()
            if isinstance(self._app, TerminalOwner):
                self._app.terminal_gone()
            return
        self._deliver(self._keyboard.feed(data, self._loop.time()))

    def _expire(self) -> None:
        self._tick = None
        self._deliver(self._keyboard.expire(self._loop.time()))

    def _deliver(self, messages: list[Message]) -> None:
        for message in messages:
            self.process_message(message)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._keyboard.deadline is not None and self._reading:
            self._tick = self._loop.call_at(self._keyboard.deadline, self._expire)

    def send_message(self, message: Message) -> None:
        """Give a message to the app; it comes from the app's own thread."""
        self._app.post_message(message)

    def process_message(self, message: Message) -> None:
        """Give what was read to the app; what a terminal says of its size is looked up before it is believed."""
        if isinstance(message, events.Resize):
            size = Size(*self._get_terminal_size())
            message = events.Resize(size, size, pixel_size=message.pixel_size)
            self._keyboard.use_pixels(size, message.pixel_size)
        elif isinstance(message, events.MouseEvent) and not self._app.size.contains(message.x, message.y):
            return  # beyond the screen there is nothing to point at
        super().process_message(message)

    def _enable_mouse_pixels(self) -> None:
        if self._mouse and not self._mouse_pixels:
            super()._enable_mouse_pixels()

    def _get_terminal_size(self) -> tuple[int, int]:
        """The size that the system knows of the terminal, within bounds."""
        for descriptor in (self._output, self.fileno):
            with suppress(OSError):
                width, height = os.get_terminal_size(descriptor)
                if width and height:  # a serial line does not know
                    return min(width, LARGEST[0]), min(height, LARGEST[1])
        return _told("COLUMNS", 80, LARGEST[0]), _told("LINES", 24, LARGEST[1])

    def _send_size(self, *_: object) -> None:
        size = Size(*self._get_terminal_size())
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._app.post_message, events.Resize(size, size))

    # Coming and going

    def start_application_mode(self) -> None:
        """Take the terminal; again, where a shell had it in between."""
        if shutdown_deadline.started() or not self._is_ours():
            return
        self.stop_application_mode()
        encoding = sys.__stderr__.encoding if sys.__stderr__ is not None else "utf-8"
        self._writer = TerminalWriter(self._output, encoding, self._draw_again)
        signal.signal(signal.SIGWINCH, self._send_size)
        self._send_size()
        self.write("\x1b[?1049h" + rtl.opening())
        self._enable_mouse_support()
        self._set_raw()
        self.write("\x1b[?25l\x1b[?1004h")
        if not constants.DISABLE_KITTY_KEY:
            flags = KITTY_DISAMBIGUATE_ESCAPE_CODES | KITTY_REPORT_ALL_KEYS | KITTY_REPORT_ASSOCIATED_TEXT
            self.write(f"\x1b[>{flags}u")
        self._loop.add_reader(self.fileno, self._read)
        self._reading = True
        self._request_terminal_sync_mode_support()
        self._query_in_band_window_resize()
        self._enable_bracketed_paste()
        self._disable_line_wrap()
        self._enable_mouse_support()  # iTerm 3.5.0 wants it again
        if self._must_signal_resume:
            self._must_signal_resume = False
            self._app.post_message(self.SignalResume())

    def _is_ours(self) -> bool:
        """Whether we may have the terminal: a program in the background stops here until it is brought back."""
        if not os.isatty(self.fileno):
            return True

        def stop_again(*_: object) -> None:
            if not shutdown_deadline.started():
                os.kill(os.getpid(), signal.SIGSTOP)

        signal.signal(signal.SIGTTOU, stop_again)
        signal.signal(signal.SIGTTIN, stop_again)
        try:
            termios.tcsetattr(self.fileno, termios.TCSANOW, termios.tcgetattr(self.fileno))
        except termios.error:
            return False
        finally:
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            signal.signal(signal.SIGTTIN, signal.SIG_DFL)
        return True

    def _set_raw(self) -> None:
        with suppress(termios.error):
            if self._attributes_found is None:
                self._attributes_found = termios.tcgetattr(self.fileno)
            raw = termios.tcgetattr(self.fileno)
            raw[tty.LFLAG] = self._patch_lflag(raw[tty.LFLAG])
            raw[tty.IFLAG] = self._patch_iflag(raw[tty.IFLAG])
            raw[tty.CC][termios.VMIN] = 1
            termios.tcsetattr(self.fileno, termios.TCSANOW, raw)

    def disable_input(self) -> None:
        """Read no more. It never blocks."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.fileno)
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was. It takes no longer than a terminal that does not read is waited for."""
        self.disable_input()
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        if not writer.close(rtl.closing() + LEAVE, CLOSING_SECONDS):
            with suppress(termios.error):  # what it will never read is no reason to wait
                termios.tcflush(self._output, termios.TCOFLUSH)
        self._restore_attributes()

    def _restore_attributes(self) -> None:
        """Let the terminal edit lines and echo as before, unless it is another's by now."""
        with suppress(termios.error, OSError):
            if os.tcgetpgrp(self.fileno) != os.getpgrp():
                return
            termios.tcflush(self.fileno, termios.TCIFLUSH)
            if self._attributes_found is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._attributes_found)

    def release(self) -> None:
        """Give the terminal back by force, from any thread: the process ends in a moment."""
        if (writer := self._writer) is not None:
            self._restore_attributes()
            writer.close(rtl.closing() + LEAVE, RELEASE_SECONDS)

    def close(self) -> None:
        """There is nothing left to end."""


def _output() -> int:
    """Where the terminal is: standard error, so that nothing is mixed into the output; or that, if it is elsewhere."""
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and stream.isatty():
            return stream.fileno()
    return 2


def _told(variable: str, otherwise: int, most: int) -> int:
    told = os.environ.get(variable, "")
    return max(1, min(int(told), most)) if told.isdecimal() and len(told) < 6 else otherwise
