"""Guarantees that the program exits within seconds when the system asks, whatever it is doing.

A signal first requests an orderly shutdown, in which everything is saved. Something may block that: a terminal that is
gone, a thread waiting for a disk, a handler that never returns. So a separate thread ends the process when the time is
up; if even that is blocked, a timer outside Python does.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

SECONDS = 3.5
"""Seconds from the signal to a forced exit; restoring the terminal gets another half second."""

LAST_SECONDS = 4.5
"""Seconds from the signal to an exit that nothing in this process can block."""


class _State:
    started = False


def started() -> bool:
    """Whether a shutdown has been requested."""
    return _State.started


def start(code: int, final_action: Callable[[], object] | None = None) -> None:
    """Start the shutdown deadline.

    Args:
        code: The exit code if the exit has to be forced.
        final_action: Called before that, for example to restore the terminal; it has only a moment.
    """
    if _State.started:
        return
    _State.started = True

    def force() -> None:
        time.sleep(SECONDS)
        action = threading.Thread(target=_quietly, args=(final_action,), daemon=True)
        action.start()
        action.join(LAST_SECONDS - SECONDS - 0.3)
        os._exit(code)

    with suppress(OSError, ValueError, RuntimeError):
        nowhere = Path(os.devnull).open("wb")  # noqa: SIM115 - open to the end
        faulthandler.dump_traceback_later(LAST_SECONDS, exit=True, file=nowhere)
    threading.Thread(target=force, name="deadline", daemon=True).start()


def _quietly(action: Callable[[], object] | None) -> None:
    with suppress(Exception):
        if action is not None:
            action()


def cancel() -> None:
    """Cancel the deadline: the shutdown completed but the process continues, as in tests."""
    faulthandler.cancel_dump_traceback_later()
    _State.started = False


@contextmanager
def handle_signals(leave: Callable[[int], object], final_action: Callable[[], object]) -> Iterator[None]:
    """Handle termination signals with a deadline.

    A hang-up ignored from the start, as by `nohup`, stays ignored, and so does an interrupt, as for a background job.

    Args:
        leave: Called with the exit code in the main thread to start an orderly shutdown.
        final_action: See `start`.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        start(128 + number, final_action)
        leave(128 + number)

    names = ("SIGTERM", "SIGHUP", "SIGINT") if os.name == "posix" else ("SIGTERM",)
    before = {}
    for name in names:
        number = getattr(signal, name)
        if name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if not _State.started:  # otherwise it is already shutting down
                signal.signal(number, handler)
