"""Windows of any size, from one cell on, on every screen, also while a reply is written: nothing dies or is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from tests.hostile.conftest import Campaign, sample
from tests.tui.helpers import app_of, ready, screen_text, until

REPLY = (
    "# A title\n\n| a | b |\n|---|---|\n| 1 | שלום |\n\n```python\nprint('日本語')\n```\n\n1. one\n2. two\n\n> quoted\n"
    * 3
)
A_CASE = 20
"""Sizes tried in one run of the app."""

SCREENS: tuple[tuple[str, ...], ...] = (
    (),
    ("f1",),
    ("f2",),
    ("f10",),
    ("f12",),
    ("ctrl+p",),
    ("ctrl+s",),
    ("ctrl+o",),
    ("ctrl+b",),
    ("shift+tab",),
    ("shift+tab", "e"),
    ("slash",),
    ("f4",),
    ("f5",),
    ("f6",),
    ("f7",),
    ("f8",),
)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setattr("edgechat.tui.clipboard.copy", lambda *_, **__: None, raising=False)


def a_size(dice: random.Random) -> tuple[int, int]:
    """A size, small ones more often."""
    most = dice.choice([(3, 3), (10, 6), (45, 14), (130, 50)])
    return dice.randint(1, most[0]), dice.randint(1, most[1])


async def attack(number: int, history: Path) -> str | None:
    dice = random.Random(number)
    app = EdgechatApp(Session(ScriptedEngine([REPLY], delay=0.003), HistoryStore.open(history)))
    sizes: list[tuple[int, int]] = [a_size(dice)]
    keys = SCREENS[number % len(SCREENS)]
    try:
        async with app.run_test(size=sizes[0]) as pilot:
            await ready(pilot)
            await pilot.press(*"hello", "enter")
            if dice.random() < 0.5:
                await until(pilot, lambda: not app.chat.sending)
            await pilot.press(*keys)
            for _ in range(A_CASE - 1):
                sizes.append(a_size(dice))
                await pilot.resize_terminal(*sizes[-1])
                if dice.random() < 0.3:
                    await pilot.press(dice.choice(["down", "pagedown", "tab", "end", "x", "up", "home"]))
                assert tuple(app.size) == sizes[-1]
            await _leave_all(pilot)
            await pilot.resize_terminal(100, 30)
            await until(pilot, lambda: not app.chat.sending)
            assert screen_text(pilot).strip()
            if keys != ("f8",) and app.session.conversation.turns[-1].user != "hello":  # F8 deletes the chat
                return f"the message is lost after {keys} and {sizes}"
    except Exception as error:  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]} after {keys} and {sizes}"
    return None


async def _leave_all(pilot: Pilot[Any]) -> None:
    for _ in range(8):
        if app_of(pilot).screen is app_of(pilot).chat:
            return
        await pilot.press("escape")


def test_a_window_may_have_any_size(campaign: Callable[[str, str], Campaign], tmp_path: Path) -> None:
    """Twenty sizes a case, on one of the screens."""
    started = campaign("C", f"windows of random sizes, {A_CASE} a case")

    def run(number: int) -> str | None:
        one: Awaitable[str | None] = attack(number, tmp_path / f"{number}.db")
        return asyncio.run(asyncio.wait_for(one, 300))

    started.run(sample(3, 100), run)
