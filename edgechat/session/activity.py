"""What a session is busy with, so that one thing happens at a time.

The reply runner and the model switcher both take the session for themselves through the one `Activity`; whatever must
not happen meanwhile asks it first.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

from edgechat.errors import EngineError

Work = Literal["reply", "switch"]
"""A reply is being written, or another model is being loaded."""


class Activity:
    """The one piece of work that a session has under way, if any.

    Invariants: at most one piece of work is under way; a stop request belongs to the work under way and is forgotten
    when the next one begins.
    """

    def __init__(self) -> None:
        self._work: Work | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._stop = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether any work is under way."""
        return self._work is not None

    def stop_requested(self) -> bool:
        """Whether the work under way was asked to stop."""
        return self._stop.is_set()

    def refuse_while_busy(self) -> None:
        """Raise EngineError, with the reason for the user, while any work is under way."""
        if self._work == "switch":
            raise EngineError("Another model is being loaded", "", "Wait for it, or go back with Esc.")
        if self._work == "reply":
            raise EngineError("A reply is being written", "One message is answered at a time.", "Stop it, or wait.")

    def begin(self, work: Work) -> None:
        """Start a piece of work; the caller ends it with `end`, however it comes out.

        Raises:
            EngineError: Another one is under way.
        """
        self.refuse_while_busy()
        self._work = work
        self._stop.clear()
        self._idle.clear()

    def end(self) -> None:
        """End the work under way."""
        self._work = None
        self._idle.set()

    def request_stop(self) -> None:
        """Ask the work under way to stop; it looks when it next can."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Wait until the work under way is asked to stop."""
        await self._stop.wait()

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until nothing is under way, or for that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
