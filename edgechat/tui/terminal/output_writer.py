"""What is written to the terminal, by a thread that nobody ever waits for.

A terminal may stop reading (a stopped window, a dead connection) or be gone, and a program that then waits to write
can neither be used nor ended. So writing never blocks whoever draws: what a terminal does not take in time is left out,
and everything is drawn again when it reads on. The thread writes to the descriptor, past Python's buffers, whose lock
would hold up the end of the process.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

LIMIT = 4 * 1024 * 1024
"""Characters that may wait for a terminal which does not read; dozens of whole screens."""


class TerminalWriter:
    """Writes text to a terminal in the background."""

    def __init__(self, descriptor: int, encoding: str, on_catching_up: Callable[[], None]) -> None:
        """Start the thread.

        Args:
            descriptor: Where to write.
            encoding: The terminal's encoding.
            on_catching_up: Called in the thread when something was left out and the terminal reads again.
        """
        self._descriptor = descriptor
        self._encoding = encoding
        self._on_catching_up = on_catching_up
        self._pieces: list[str] = []
        self._waiting = 0
        self._left_out = False
        self._ending = False
        self._changed = threading.Condition()
        # A daemon: the interpreter's end does not wait for a write that never returns.
        self._thread = threading.Thread(target=self._run, name="terminal-output", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Have text written soon. It never blocks."""
        with self._changed:
            if self._ending or self._left_out:
                return
            self._pieces.append(text)
            self._waiting += len(text)
            if self._waiting > LIMIT:
                self._pieces.clear()
                self._waiting = 0
                self._left_out = True
            self._changed.notify()

    def close(self, last_words: str, seconds: float) -> bool:
        """Write the last text and end.

        Args:
            last_words: What gives the terminal back; it is written even where other text is left out.
            seconds: How long the terminal may take for it.

        Returns:
            Whether everything was written.
        """
        with self._changed:
            self._pieces.append(last_words)
            self._ending = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pieces and not self._ending and not self._left_out:
                    self._changed.wait()
                text, self._pieces, self._waiting = "".join(self._pieces), [], 0
                caught_up, self._left_out = self._left_out, False
                ending = self._ending
            with suppress(OSError):  # the terminal is gone, which its input tells as well
                self._write_all(text.encode(self._encoding, "replace"))
            if ending:
                return
            if caught_up:
                self._on_catching_up()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except BlockingIOError:  # somebody else made it so
                with suppress(OSError, ValueError):
                    select.select([], [self._descriptor], [], 1)
                continue
            view = view[written:]
