"""A thousand keys at random: nothing may crash, and no message may be lost.

The seeds are in the names of the tests; `EDGECHAT_TEST_SEED=n` runs another one.
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.message import Message
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.widgets.composer import Composer
from tests.tui.helpers import app_of, ready, screen_text

STEPS = 250
SEEDS = [int(os.environ["EDGECHAT_TEST_SEED"])] if "EDGECHAT_TEST_SEED" in os.environ else [1, 2, 3, 5]
SIZES = [(40, 12), (80, 24), (120, 40), (200, 50)]
WORDS = ["hello", "שלום", "日本語", "/help", "two words", "`code`", "😀", "[red]", "//", "/set "]
OTHERS = ["escape", "tab", "shift+tab", "up", "down", "left", "right", "enter", "backspace", "delete", "home", "end"]
QUITS = {"ctrl+q", "ctrl+c"}


def bound_keys(app: EdgechatApp) -> list[str]:
    """Every key that is bound where the focus is, but those that quit."""
    keys: set[str] = set()
    for active in app.screen.active_bindings.values():
        keys.update(active.binding.key.split(","))
    keys.update(key for binding in Composer.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(","))
    return sorted(keys - QUITS)


async def press_at_random(pilot: Pilot[Any], dice: random.Random) -> str:
    app = app_of(pilot)
    roll = dice.random()
    if roll < 0.25 and app.focused is not None:
        words = dice.choice(WORDS)
        for character in words:
            await pilot.press("space" if character == " " else character)
        return repr(words)
    if roll < 0.45:
        key = "enter"
    elif roll < 0.6:
        key = dice.choice(OTHERS)
    elif roll < 0.63:
        width, height = dice.choice(SIZES)
        await pilot.resize_terminal(width, height)
        return f"{width}x{height}"
    else:
        key = dice.choice(bound_keys(app))
    await pilot.press(key)
    return key


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_keys_neither_crash_nor_lose_a_message(seed: int, history: Path) -> None:
    dice = random.Random(seed)
    app = EdgechatApp(Session(ScriptedEngine(delay=0.001), HistoryStore.open(history)))
    pressed: list[str] = []
    sent: list[str] = []

    def listen(message: Message) -> None:
        if isinstance(message, Composer.Submitted) and message.text not in sent:
            sent.append(message.text)

    try:
        async with app.run_test(size=SIZES[seed % len(SIZES)], message_hook=listen) as pilot:
            await ready(pilot)
            for _ in range(STEPS):
                pressed.append(await press_at_random(pilot, dice))
            assert app.is_running
            assert screen_text(pilot).strip()
            written = app.chat.composer.text  # a message that could not be taken is given back
    except BaseException:
        print(f"EDGECHAT_TEST_SEED={seed}; the keys before the end: {pressed[-40:]}")
        raise
    assert app.return_code in (0, None)
    with closing(sqlite3.connect(history)) as database:
        kept = {text for (text,) in database.execute("SELECT user FROM turn")}
    assert sent, "no message was sent: the test shows nothing"
    assert [message for message in sent if message not in kept and message not in written] == []
