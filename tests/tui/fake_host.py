"""Stands in for the chat screen: a controller can be tried without an app."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from textual.app import App
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker

from edgechat.tui.chat.host import Work


class FakeHost:
    """Notes what a controller asks for; nothing runs before a test says so.

    Attributes:
        posted: The messages that were posted.
        notices: The notifications.
        timers: What is to be called later.
        work: What is to run in the background.
        actions: The actions that were run.
        redraws: An entry for each time the chat was drawn anew.
    """

    def __init__(self) -> None:
        self.posted: list[Message] = []
        self.notices: list[str] = []
        self.timers: list[Callable[[], Any]] = []
        self.work: list[Coroutine[Any, Any, None]] = []
        self.actions: list[str] = []
        self.redraws: list[None] = []

    @property
    def app(self) -> App[Any]:
        raise AssertionError("a controller that needs the app is tried in one")

    def run_worker(self, work: Work, *, name: str, group: str = "default", exclusive: bool = False) -> Worker[None]:
        self.work.append(work() if callable(work) else work)
        return cast("Worker[None]", None)

    def set_timer(self, delay: float, callback: Callable[[], Any]) -> Timer:
        self.timers.append(callback)
        return cast("Timer", FakeTimer(self.timers, callback))

    def call_later(self, callback: Callable[..., Any], *args: Any) -> bool:
        self.timers.append(lambda: callback(*args))
        return True

    def call_next(self, callback: Callable[..., Any], *args: Any) -> None:
        self.timers.append(lambda: callback(*args))

    def post_message(self, message: Message) -> bool:
        self.posted.append(message)
        return True

    def notify(self, message: str, *, severity: str = "information", markup: bool = True) -> None:
        assert not markup, "a notification is text"
        self.notices.append(message)

    async def run_action(self, action: str) -> None:
        self.actions.append(action)

    async def redraw(self) -> None:
        self.redraws.append(None)

    def chats_changed(self) -> None:
        pass

    async def run_all(self) -> None:
        """Let timers expire and workers work until nothing is left."""
        while self.timers or self.work:
            if self.timers:
                self.timers.pop(0)()
            else:
                await self.work.pop(0)


class FakeTimer:
    """Can be stopped."""

    def __init__(self, timers: list[Callable[[], Any]], callback: Callable[[], Any]) -> None:
        self._timers = timers
        self._callback = callback

    def stop(self) -> None:
        if self._callback in self._timers:
            self._timers.remove(self._callback)
