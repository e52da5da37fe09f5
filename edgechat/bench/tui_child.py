"""The real application with instrumentation, for `edgechat bench`.

It measures what a user gets: the same app, screen and session, in a terminal, with the real worker. Nothing here
    changes
their behaviour; it only sends a message automatically and exits when the reply is complete.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from edgechat.engine.protocol import TextDelta
from edgechat.session.session import Session, SessionEvent, TurnClosed
from edgechat.tui.app import EdgechatApp
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.turn_view import TurnView

LAG_SLEEP = 0.02
"""Seconds between checks of the event loop's latency; each check takes some CPU time."""


class TimedSession(Session):
    """A session that records when text arrives."""

    first = last = 0.0
    tokens = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.writing = asyncio.Event()

    async def send(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Send a message, recording the times of its events."""
        async for event in super().send(text):
            if isinstance(event, TextDelta):
                self.last = time.perf_counter()
                self.first = self.first or self.last
                self.writing.set()
            elif isinstance(event, TurnClosed):
                self.tokens = event.finished.usage.completion
            yield event


class BenchApp(EdgechatApp):
    """Exits after the first paint, or after one reply.

    Attributes:
        result: `painted` and, once the end of the chat is shown, `opened`, in seconds of the system's monotonic clock;
            after a reply also `tokens`, `decode` in seconds, and `lag`, the event loop's maximum latency during the
            reply in seconds.
    """

    def __init__(self, session: TimedSession, prompt: str | None) -> None:
        super().__init__(session)
        self._timed = session
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
        last = next(reversed(self._timed.conversation.turns), None)
        while last is not None and not self._sees(last.id):  # noqa: ASYNC110 - nothing tells of it, in the real chat
            await asyncio.sleep(0.005)
        self.call_after_refresh(self._opened)

    def _sees(self, turn_id: int) -> bool:
        return any(view.turn.id == turn_id and view.size for view in self.query(TurnView))

    def _opened(self) -> None:
        self.result["opened"] = time.monotonic()
        self.exit()

    async def _hold(self, prompt: str) -> None:
        await self._timed.start()
        await asyncio.sleep(1.0)  # exclude startup work such as background imports
        self.chat.post_message(Composer.Submitted(prompt))
        await self._timed.writing.wait()
        worst = 0.0
        while not self._timed.tokens:
            before = time.perf_counter()
            await asyncio.sleep(LAG_SLEEP)
            worst = max(worst, time.perf_counter() - before - LAG_SLEEP)
        self.result |= {
            "tokens": self._timed.tokens,
            "decode": self._timed.last - self._timed.first,
            "lag": worst,
        }
        self.exit()
