"""Faults that nobody foresaw and nobody waits for: of a thread, of a task, of the interpreter itself.

Python prints a traceback for them and goes on, with exit code 0 at the end. Here they go to the log, and whoever shows
things to the user is told a sentence: the interface makes a card of it, a command writes it to standard error.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgechat.errors import EdgechatError
from edgechat.runtime import logs

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

Tell = Callable[[EdgechatError], object]


class _Listener:
    """Who is told."""

    tell: Tell | None = None


def watch(tell: Tell) -> None:
    """Look after the threads and the interpreter from now on.

    Args:
        tell: Shows a fault; it may be called in any thread.
    """
    _Listener.tell = tell
    threading.excepthook = _of_thread
    sys.excepthook = _of_main
    sys.unraisablehook = _of_interpreter


@contextmanager
def told_to(tell: Tell) -> Iterator[None]:
    """Let somebody else be told meanwhile."""
    before, _Listener.tell = _Listener.tell, tell
    try:
        yield
    finally:
        _Listener.tell = before


def of_task(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of what nobody caught."""
    error = context.get("exception")
    if isinstance(error, Exception):
        _note(error, "a task")
    else:
        logs.log.warning("event loop: %s", context.get("message", ""))


def _of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _note(arguments.exc_value, "a thread")


def _of_main(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    _note(error, "the program")


def _of_interpreter(arguments: UnraisableHookArgs) -> None:
    """What fails while an object is taken away changes nothing for the user; it is for the log."""
    if arguments.exc_value is not None and not sys.is_finalizing():
        logs.log.warning("ignored by the interpreter\n%s", "\n".join(logs.places(arguments.exc_value)))


def _note(error: BaseException, doing: str) -> None:
    fault = logs.fault(error, doing)
    if _Listener.tell is not None:
        _Listener.tell(fault)
