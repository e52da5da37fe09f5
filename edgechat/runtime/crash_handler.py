"""Handles uncaught exceptions in threads, tasks and the interpreter itself.

Python prints a traceback for them and carries on, exiting with code 0. Here they go to the log, and the user sees a
sentence: the interface shows a card, a command writes to standard error.
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

FaultReporter = Callable[[EdgechatError], object]


class _Listener:
    """The current fault reporter."""

    report: FaultReporter | None = None


def watch(report: FaultReporter) -> None:
    """Handle uncaught exceptions of threads and the interpreter from now on.

    Args:
        report: Shows a fault to the user; may be called in any thread.
    """
    _Listener.report = report
    threading.excepthook = _handle_thread
    sys.excepthook = _handle_main
    sys.unraisablehook = _handle_unraisable


@contextmanager
def reporting_to(report: FaultReporter) -> Iterator[None]:
    """Replace the reporter within the context."""
    before, _Listener.report = _Listener.report, report
    try:
        yield
    finally:
        _Listener.report = before


def handle_task(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler."""
    error = context.get("exception")
    if isinstance(error, Exception):
        _report(error, "a task")
    else:
        logs.log.warning("event loop: %s", context.get("message", ""))


def _handle_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _report(arguments.exc_value, "a thread")


def _handle_main(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    _report(error, "the program")


def _handle_unraisable(arguments: UnraisableHookArgs) -> None:
    """A failure while an object is being destroyed does not affect the user, so it only goes to the log."""
    if arguments.exc_value is not None and not sys.is_finalizing():
        logs.log.warning("ignored by the interpreter\n%s", "\n".join(logs.places(arguments.exc_value)))


def _report(error: BaseException, doing: str) -> None:
    fault = logs.fault(error, doing)
    if _Listener.report is not None:
        _Listener.report(fault)
