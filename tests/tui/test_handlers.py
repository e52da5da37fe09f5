"""Handlers run once for each event."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from textual.message_pump import MessagePump

from edgechat.tui.app import EdgechatApp
from edgechat.tui.chat.reply_controller import ChatScreen
from edgechat.tui.chat.screen import MainScreen
from edgechat.tui.keys import entries
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, until


async def test_a_new_size_is_fitted_once(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[str] = []
    for screen in (ChatScreen, MainScreen):
        before = screen.on_resize

        def fit(self: Any, event: Any, before: Any = before, name: str = screen.__name__) -> None:
            fitted.append(name)
            before(self, event)

        monkeypatch.setattr(screen, "on_resize", fit)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for size in ((120, 30), (80, 24), (4, 3), (120, 30)):
            fitted.clear()
            await pilot.resize_terminal(*size)
            await until(pilot, partial(_has, app, size))
            assert sorted(fitted) == ["ChatScreen", "MainScreen"]


def test_no_handler_runs_twice() -> None:
    """Textual calls the handlers of every class of a chain; one that calls that of its base runs it twice."""
    entries()  # imports all of the interface
    for each in _subclasses(MessagePump):
        if not each.__module__.startswith("edgechat"):
            continue
        for name, handler in vars(each).items():
            if name.lstrip("_").startswith("on_") and callable(handler) and name != "on_event":  # called by its name
                assert f"super().{name}" not in inspect.getsource(handler), f"{each.__name__}.{name}"


def _has(app: EdgechatApp, size: tuple[int, int]) -> bool:
    return tuple(app.chat.size) == size


def _subclasses(root: type[Any]) -> Iterator[type[Any]]:
    yield root
    for each in root.__subclasses__():
        yield from _subclasses(each)
