"""Bytes of any kind from a terminal: nothing dies, nothing is sent that was not sent, and what is typed arrives."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from textual import events
from textual.message import Message
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.paths import own_command
from edgechat.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.terminal.keyboard import Keyboard
from edgechat.tui.widgets.composer import Composer
from tests.hostile.conftest import Campaign, sample
from tests.hostile.test_terminal_closed import Closed
from tests.tui.helpers import app_of, ready

A_CASE = 100
"""Chunks of bytes in one run of the app."""

WORDS = ["hello ", "grün ", "שלום ", "日本語 ", "😀", "a\u0301", "\u3000", "x"]
LEAVES = {"ctrl+q", "ctrl+c", "ctrl+g"}
"""Keys that may do what they say: leave, or open an editor."""
SENDS = {"enter", "ctrl+m", "ctrl+j", "alt+enter", "shift+enter"}


def noise(dice: random.Random) -> bytes:
    """A chunk that means nothing, or not what it seems to."""
    kind = dice.randrange(12)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 40)).replace(b"\r", b"").replace(b"\n", b"")
    if kind == 1:
        return bytes([dice.randrange(0x80, 0x100)])
    if kind == 2:
        numbers = b";".join(b"%d" % dice.choice([0, 1, 5, 27, 65, 10**9, 10**30]) for _ in range(dice.randrange(6)))
        return (
            b"\x1b["
            + dice.choice([b"", b"<", b"?", b">", b"="])
            + numbers
            + dice.choice(b"mMuRtcnyZ~ABCD@`$").to_bytes()
        )
    if kind == 3:
        x, y = dice.choice([0, 1, 5, 40, 200, 99999]), dice.choice([0, 1, 5, 20, 99, 99999])
        return b"\x1b[<%d;%d;%d" % (dice.choice([0, 1, 2, 32, 35, 64, 65, 128]), x, y) + dice.choice([b"M", b"m"])
    if kind == 4:
        return (
            dice.choice([b"\x1b]0;", b"\x1bP1$r", b"\x1b_G", b"\x1b]l"])
            + b"/quit title"
            + dice.choice([b"\x07", b"\x1b\\", b""])
        )
    if kind == 5:
        return dice.choice(
            [b"\x1b[?62;1c", b"\x1b[0n", b"\x1b[9;9R", b"\x1b[?2026;2$y", b"\x1b[I", b"\x1b[O", b"\x1b[201~"]
        )
    if kind == 6:
        inside = "".join(
            dice.choice([*WORDS, "\r", "\n/quit\n", "\x1b[31m", "\x1b[A", "\x03", "file://[x", "/tmp/\x00", "~no/x"])
            for _ in range(6)
        )
        return b"\x1b[200~" + inside.encode() + b"\x1b[201~"
    if kind == 7:
        return dice.choice(["\ud7ff", "\ue000", "\ufffe", "\U0010ffff", "\u202e", "\x85", "\x9b"]).encode()
    if kind == 8:
        return dice.choice(
            [
                b"\x1b[A",
                b"\x1b[B",
                b"\x1bOC",
                b"\x1b[D",
                b"\x1b[3~",
                b"\x7f",
                b"\t",
                b"\x1b[Z",
                b"\x1b[5~",
                b"\x1b[1;2D",
            ]
        )
    if kind == 9:
        return dice.choice([b"\x1b", b"\x1b\x1b", b"\x1b[", b"\x1bO", b"\x1b[1;", b"\x1b[<0;1", b"\x1b[M"])
    return dice.choice(WORDS).encode()


class Sent:
    """The keys that came and may send something."""

    def __init__(self) -> None:
        self.keys = 0

    def count(self, found: list[Message]) -> None:
        """Count the keys among what was read that may send something."""
        self.keys += sum(isinstance(each, events.Key) and each.key in SENDS for each in found)


async def attack(number: int, history: Path) -> str | None:
    dice = random.Random(number)
    keyboard, sent = Keyboard("utf-8"), Sent()
    app = EdgechatApp(Session(ScriptedEngine(["A short reply."]), HistoryStore.open(history)))
    submitted: set[int] = set()

    def see(message: Message) -> None:
        if isinstance(message, (Composer.Submitted, Composer.Commanded)):
            submitted.add(id(message))
            seen.append(message)  # so that no other gets its id

    seen: list[Message] = []
    done: list[bytes] = []
    try:
        async with app.run_test(size=(90, 24), message_hook=see) as pilot:
            await ready(pilot)
            now = 0.0

            def give(found: list[Message]) -> None:
                found = [each for each in found if not (isinstance(each, events.Key) and each.key in LEAVES)]
                sent.count(found)
                for each in found:
                    if not isinstance(each, events.MouseEvent) or app.size.contains(each.x, each.y):
                        each.set_sender(app)
                        app.post_message(each)

            for _ in range(A_CASE):
                done.append(noise(dice))
                now += dice.choice([0.0, 0.001, 0.2, 3.0])
                if keyboard.deadline is not None and now >= keyboard.deadline:
                    give(keyboard.expire(now))
                give(keyboard.feed(done[-1], now))
                if dice.random() < 0.1:
                    await pilot.pause(0)
            while keyboard.deadline is not None:
                give(keyboard.expire(keyboard.deadline))
            await pilot.pause()
            if len(submitted) > sent.keys:
                return f"{len(submitted)} sent by {sent.keys} keys"
            return await _what_is_typed_arrives(pilot, keyboard)
    except Exception as error:  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]} after {done[-5:]}"


async def _what_is_typed_arrives(pilot: Pilot[None], keyboard: Keyboard) -> str | None:
    app = app_of(pilot)
    while app._order._task is not None:
        await pilot.pause(0.02)
    for _ in range(8):
        if app.screen is app.chat and app.focused is app.chat.composer:
            break
        await pilot.press("escape")
        if app.screen is app.chat:
            app.chat.composer.focus()
            await pilot.pause()
    app.chat.composer.clear()
    for message in keyboard.feed("typed שלום\u3000x\x1b[D!".encode(), 1e6):
        app.post_message(message)
    for _ in range(200):
        if app.chat.composer.text == "typed שלום\u3000!x":
            return None
        await pilot.pause(0.02)
    return f"what was typed arrived as {app.chat.composer.text!r} in {app.screen!r}"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("EDGECHAT_CLIPBOARD", "none")


def test_no_bytes_harm(campaign: Callable[[str, str], Campaign], tmp_path: Path) -> None:
    """A hundred chunks a case, through the keyboard that the driver reads with, into the whole app."""
    started = campaign("C", f"random bytes typed, {A_CASE} chunks a case")

    def run(number: int) -> str | None:
        return asyncio.run(asyncio.wait_for(attack(number, tmp_path / f"{number}.db"), 300))

    started.run(sample(2, 1000), run)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_no_bytes_end_a_real_terminals_chat(tmp_path: Path) -> None:
    """The same through the driver: it runs on, has sent nothing, and leaves with Ctrl+Q and code 0."""
    dice = random.Random(11)
    closed = Closed(own_command("--demo"), tmp_path)
    family: list[psutil.Process] = []
    try:
        while b"ready" not in closed.out:
            closed.read(0.2)
        family = closed.family()
        for _ in range(sample(40, 1000).stop):
            closed.type(noise(dice).translate(None, b"\r\n\x03\x07\x11"))
            closed.read(0.01)
            assert closed.process.poll() is None, closed.out[-2000:]
        closed.read(3.0)
        closed.type(b"\x11")
        left, _ = closed.left(family)
        assert left == []
        assert closed.process.returncode == 0
        assert b"Traceback" not in closed.out
    finally:
        closed.clean(family)
