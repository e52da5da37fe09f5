"""An end that the system asks for comes within seconds, whatever the program is doing.

A signal first asks for an orderly end, in which everything is kept. Something may keep that from coming: a terminal
that is gone, a thread that waits for a disk, a handler that never returns. So a thread of its own ends the process when
the time is up; should even that be held up, a thread without Python does.
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
"""From the signal to the end by force; half a second more is for giving the terminal back."""

LAST_SECONDS = 4.5
"""From the signal to the end that nothing in this process can hold up."""


class _State:
    begun = False


def begun() -> bool:
    """Whether the end was asked for."""
    return _State.begun


def begin(code: int, last_act: Callable[[], object] | None = None) -> None:
    """The end was asked for: let it come in time.

    Args:
        code: The exit code where it has to be forced.
        last_act: Done before that, as giving the terminal back; it has a moment for it.
    """
    if _State.begun:
        return
    _State.begun = True

    def force() -> None:
        time.sleep(SECONDS)
        act = threading.Thread(target=_quietly, args=(last_act,), daemon=True)
        act.start()
        act.join(LAST_SECONDS - SECONDS - 0.3)
        os._exit(code)

    with suppress(OSError, ValueError, RuntimeError):
        nowhere = Path(os.devnull).open("wb")  # noqa: SIM115 - open to the end
        faulthandler.dump_traceback_later(LAST_SECONDS, exit=True, file=nowhere)
    threading.Thread(target=force, name="deadline", daemon=True).start()


def _quietly(act: Callable[[], object] | None) -> None:
    with suppress(Exception):
        if act is not None:
            act()


def call_off() -> None:
    """The end has come by itself, and the process goes on, as that of the tests does."""
    faulthandler.cancel_dump_traceback_later()
    _State.begun = False


@contextmanager
def ends_on_signals(leave: Callable[[int], object], last_act: Callable[[], object]) -> Iterator[None]:
    """End in time when the system asks for it, or another program does.

    A hang-up that was to be ignored from the start, as by `nohup`, is ignored, and so is an interrupt, as of a job in
    the background.

    Args:
        leave: Called with the exit code, in the main thread: begins the orderly end.
        last_act: See `begin`.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        begin(128 + number, last_act)
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
            if not _State.begun:  # else it is ending, and is not to be disturbed
                signal.signal(number, handler)
