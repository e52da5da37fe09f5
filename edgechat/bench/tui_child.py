"""The real application with instrumentation, for `edgechat bench`.

It measures what a user gets: the same app, screen and session, in a terminal, with the real worker. Nothing here
    changes
their behaviour; it only sends a message automatically and exits when the reply is complete.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from edgechat.bench.stopwatch_engine import StopwatchEngine
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.turn_view import TurnView

LAG_SLEEP = 0.02
"""Seconds between checks of the event loop's latency; each check takes some CPU time."""


class BenchApp(EdgechatApp):
    """Exits after the first paint, or after one reply.

    Attributes:
        result: `painted` and, once the end of the chat is shown, `opened`, in seconds of the system's monotonic clock;
            after a reply also `tokens`, `decode` in seconds, and `lag`, the event loop's maximum latency during the
            reply in seconds.
    """

    def __init__(self, session: Session, stopwatch: StopwatchEngine, prompt: str | None) -> None:
        """Make the app.

        Args:
            session: Talks to the engine of `stopwatch`.
            stopwatch: Notes when the words come.
            prompt: The one message to send; None sends none.
        """
        super().__init__(session)
        self._stopwatch = stopwatch
        self._prompt = prompt
        self.result: dict[str, Any] = {}

    def on_mount(self) -> None:
        """Wait for the first paint."""
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        self.result["painted"] = time.monotonic()
        if self._prompt is None:
            self.run_worker(self._shown(), name="bench")
        else:
            self.run_worker(self._hold(self._prompt), name="bench")

    async def _shown(self) -> None:
        """Exit when the end of the chat is on the screen."""
        last = next(reversed(self.session.conversation.turns), None)
        while last is not None and not self._sees(last.id):  # noqa: ASYNC110 - nothing tells of it, in the real chat
            await asyncio.sleep(0.005)
        self.call_after_refresh(self._opened)

    def _sees(self, turn_id: int) -> bool:
        return any(view.turn.id == turn_id and view.size for view in self.query(TurnView))

    def _opened(self) -> None:
        self.result["opened"] = time.monotonic()
        self.exit()

    async def _hold(self, prompt: str) -> None:
        await self.session.start()
        await asyncio.sleep(1.0)  # exclude startup work such as background imports
        self.chat.post_message(Composer.Submitted(prompt))
        await self._stopwatch.writing.wait()
        worst = 0.0
        while not self._stopwatch.tokens or self.session.busy:
            before = time.perf_counter()
            await asyncio.sleep(LAG_SLEEP)
            worst = max(worst, time.perf_counter() - before - LAG_SLEEP)
        self.result |= {
            "tokens": self._stopwatch.tokens,
            "decode": self._stopwatch.last - self._stopwatch.first,
            "lag": worst,
        }
        self.exit()
