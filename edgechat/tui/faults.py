"""What the app does about faults that nobody foresaw: they are logged, and never drawn as a traceback.

Where only a worker failed, the chat lives on and shows a card; elsewhere the app ends, with the terminal restored and
the chat saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual.worker import WorkerFailed

from edgechat.errors import EdgechatError, FaultError
from edgechat.runtime import logs

if TYPE_CHECKING:
    from textual.app import App


class FaultHandler:
    """Shows or logs what failed.

    Attributes:
        fatal: What ended the app unforeseen; None if nothing did.
    """

    def __init__(self, app: App[Any], show: Callable[[EdgechatError], Awaitable[None]]) -> None:
        """Wait for something to fail.

        Args:
            app: Whose faults they are.
            show: Shows one as a card in the chat.
        """
        self._app = app
        self._show = show
        self.fatal: FaultError | None = None

    def show_from_thread(self, fault: EdgechatError) -> None:
        """Show a fault that ended nothing, as of a thread; from any thread."""
        loop = self._app._loop
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(self._show_later, fault)

    def _show_later(self, fault: EdgechatError) -> None:
        if self._app.is_running and not self._app._exit:
            self._app.call_later(self._show, fault)

    def handle(self, error: Exception) -> FaultError | None:
        """Log an error, and show it if the app can go on, as only a worker failed.

        Returns:
            Why the app has to end; None if it can go on.
        """
        inner = error.error if isinstance(error, WorkerFailed) else error
        fault = logs.fault(inner, "the interface")
        if isinstance(error, WorkerFailed) and self._app.is_running and not self._app._exit:
            self._show_later(fault)
            return None
        self.fatal = fault
        return fault

    def reason_for_end(self) -> FaultError | None:
        """What ended the app, which has ended, unforeseen; None if it was asked to end.

        Textual takes the end of its own task for the end: whoever cancels that, as a part of the interface that waits
        for another may, ends the app without a word.
        """
        if self.fatal is None and not self._app._exit:
            self.fatal = logs.fault(asyncio.CancelledError(), "the interface")
        return self.fatal
