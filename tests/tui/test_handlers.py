"""Handlers run once for each event."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from textual.actions import parse
from textual.message_pump import MessagePump

from edgechat.tui.app import EdgechatApp
from edgechat.tui.chat.screen import ChatScreen
from edgechat.tui.chat.slash_commands import ACTIONS
from edgechat.tui.keys import entries
from edgechat.tui.widgets.notices import CARD_ACTIONS, ErrorCard
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, until


async def test_a_new_size_is_fitted_once(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Any] = []
    before = ChatScreen.on_resize

    def fit(self: Any, event: Any) -> None:
        fitted.append(event.size)
        before(self, event)

    monkeypatch.setattr(ChatScreen, "on_resize", fit)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for size in ((120, 30), (80, 24), (4, 3), (120, 30)):
            fitted.clear()
            await pilot.resize_terminal(*size)
            await until(pilot, partial(_has, app, size))
            assert fitted == [size]


def test_no_handler_runs_twice() -> None:
    """Textual calls the handlers of every class of a chain; one that calls that of its base runs it twice."""
    entries()  # imports all of the interface
    for each in _subclasses(MessagePump):
        if not each.__module__.startswith("edgechat"):
            continue
        for name, handler in vars(each).items():
            if name.lstrip("_").startswith("on_") and callable(handler) and name != "on_event":  # called by its name
                assert f"super().{name}" not in inspect.getsource(handler), f"{each.__name__}.{name}"


def test_every_action_is_there() -> None:
    """Actions are found by their names: none is missing where a key, a command or a card calls for it."""
    named = [(entry.owner, entry.action) for entry in entries()]
    named += [(ChatScreen, action) for action in ACTIONS.values()]
    named += [(ErrorCard, action) for _kind, _words, action in CARD_ACTIONS]
    for owner, action in named:
        target, name, _parameters = parse(action)
        found = {"": owner, "app": EdgechatApp, "screen": ChatScreen}[target]
        assert hasattr(found, f"action_{name}"), action


def _has(app: EdgechatApp, size: tuple[int, int]) -> bool:
    return tuple(app.chat.size) == size


def _subclasses(root: type[Any]) -> Iterator[type[Any]]:
    yield root
    for each in root.__subclasses__():
        yield from _subclasses(each)
