"""Bytes of any kind from a terminal: nothing dies, nothing is sent that was not sent, and what is typed arrives."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual import events
from textual._context import active_message_pump
from textual.app import App
from textual.message import Message

from edgechat.chat.sanitize import without_controls
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import own_command
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.terminal.driver import TerminalDriver
from edgechat.tui.terminal.key_parser import SURE
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.status import Activity
from tests.hostile.byte_noise import noise, paste
from tests.hostile.conftest import LONG, Campaign, sample
from tests.hostile.test_terminal_closed import Closed

A_CASE = 1000 if LONG else 150
"""Chunks of bytes in one run of the app."""

SIZE = (90, 24)
SEND = "enter"
LEAVES = {"ctrl+q", "ctrl+g"}
"""Keys that may do what they say: leave, or open an editor. They are left out, so that a run goes on."""

PAUSES = (0.0, 0.0, 0.0, 0.001, 0.04, 0.09, 0.11, 0.29, 0.31, 0.49, 0.51, 0.99, 1.01, 1.9, 2.1, 5.0)
"""Seconds between chunks, on the clock of the driver: beside each of its bounds."""

_ENTER = re.compile(rb"\r|13[\d:;]*[u~]|57414|OM")
"""All that can be Enter; more than is."""


class TypedDriver(TerminalDriver):
    """Edgechat's driver with its keyboard, at a terminal whose bytes and clock are the test's.

    Attributes:
        now: What the clock says.
        keys: The keys that were read.
        pastes: The pastes that were read.
    """

    can_suspend = False

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self.now = 0.0
        self.keys: list[str] = []
        self.pastes: list[str] = []

    def start_application_mode(self) -> None:
        """There is no terminal to take."""
        self._send_size()

    def _get_terminal_size(self) -> tuple[int, int]:
        return SIZE

    def type(self, data: bytes, pause: float = 0.0) -> None:
        """Bytes come after a pause."""
        self.now += pause
        if self._keyboard.deadline is not None and self.now >= self._keyboard.deadline:
            self._deliver(self._keyboard.expire(self.now))
        self._deliver(self._keyboard.feed(data, self.now))

    def rest(self) -> None:
        """Nothing comes for long: the keyboard is in the state in which it began, but for a paste without an end."""
        for _ in range(2):
            self.type(b"", 10.0)
        if self._keyboard._pasted is not None:
            self.type(b"\x1b[201~")

    def send_message(self, message: Message) -> None:
        """Give it to the app, unless it would end the run."""
        if isinstance(message, events.Key):
            if message.key in LEAVES:
                return
            self.keys.append(message.key)
        elif isinstance(message, events.Paste):
            self.pastes.append(message.text)
        super().send_message(message)


class Witness:
    """Sees every message in the app, and whether what is sent was written and then sent by a key or a click.

    Attributes:
        sent: What was sent.
        wrong: What was sent in another way.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.wrong: list[str] = []
        self._acts: list[str] = []
        self._last: Message | None = None

    def see(self, message: Message) -> None:
        """A part of the app is about to handle a message."""
        if isinstance(message, events.Click) or (isinstance(message, events.Key) and message.key == SEND):
            app = active_message_pump.get().app
            assert isinstance(app, EdgechatApp)
            self._acts.append(app.chat.composer.message)
        elif isinstance(message, Composer.Submitted) and message is not self._last:
            self._last = message
            self.sent.append(message.text)
            if message.text in self._acts or f"/{message.text}" in self._acts:
                self._acts.clear()
            else:
                self.wrong.append(f"{message.text!r} was sent, and written was {self._acts[-3:]!r}")
        elif isinstance(message, Composer.Commanded) and message is not self._last:
            self._last = message
            if not self._acts:
                self.wrong.append(f"{message.line!r} was obeyed, and nobody pressed a key")
            self._acts.clear()


class Run:
    """One run of the app, and what was typed into it."""

    def __init__(self, dice: random.Random, history: Path) -> None:
        self.dice = dice
        self.witness = Witness()
        self.engine = ScriptedEngine(["A short reply."])
        self.app = EdgechatApp(Session(self.engine, HistoryStore.open(history)))
        self.app.driver_class = TypedDriver
        self.typed = bytearray()
        self.chunks = 0

    @property
    def driver(self) -> TypedDriver:
        assert isinstance(self.app._driver, TypedDriver)
        return self.app._driver

    async def type(self, data: bytes, pause: float = 0.0) -> None:
        """Type, and wait until it was handled, though not until it is drawn."""
        self.typed += data
        self.driver.type(data, pause)
        await self._handled()

    def _is_handled(self) -> bool:
        order = self.app._order
        return not (order._waiting or order._task or self.app._message_queue.qsize())

    async def _handled(self) -> None:
        for turn in range(1000):
            await asyncio.sleep(0 if turn < 100 else 0.005)
            if self._is_handled():
                break

    async def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for something, which may take its time on a busy machine."""
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < end, "it never came true"
            await asyncio.sleep(0.01)

    async def noise(self, count: int) -> str | None:
        """Type so many chunks. Returns what went wrong."""
        while self.chunks < count and self.app._exception is None and not self.app._exit and self.app._running:
            if self.dice.random() < 0.03:
                if wrong := await self._paste():
                    return wrong
            else:
                for piece in noise(self.dice):
                    await self.type(piece, self.dice.choice(PAUSES))
                    self.chunks += 1
        self.driver.rest()
        await self._handled()
        return None

    async def _paste(self) -> str | None:
        """A paste is a paste from end to end, whatever is in it and however it is cut."""
        self.driver.rest()
        keys, pastes = len(self.driver.keys), len(self.driver.pastes)
        pieces, text = paste(self.dice)
        come = b""
        for piece in pieces:  # ESC and ESC [ are keys, if nothing comes after them for a while
            pauses = (0.0, 0.01, 0.05) if 0 < len(come) < SURE else (0.0, 0.01, 1.9)
            self.driver.type(piece, self.dice.choice(pauses))
            come += piece
            self.chunks += 1
        found = self.driver.pastes[pastes:]
        if len(self.driver.keys) > keys:
            return f"keys came from the paste {pieces}: {self.driver.keys[keys:]}"
        if text is not None and found != ([without_controls(text)] if without_controls(text) else []):
            return f"the paste {pieces} came as {found}"
        await self._handled()
        return None

    def judge(self) -> str | None:
        """What was sent by none of what was typed."""
        if not self.app._running and not self.app._exit:
            return f"it ended of itself after {bytes(self.typed[-200:])!r}"
        enters, possible = self.driver.keys.count(SEND), len(_ENTER.findall(self.typed))
        if enters > possible:
            return f"{enters} times Enter of {possible} that were typed"
        asked = {message.content for request in self.engine.requests for message in request.messages[-1:]}
        if strange := asked - set(self.witness.sent):
            return f"the model was asked {sorted(strange)[:3]!r}, which nobody sent"
        return "; ".join(self.witness.wrong[:3]) or None

    async def ask(self) -> str | None:
        """After all that, what is typed arrives as it is, and Enter sends it."""
        chat = self.app.chat
        for _ in range(100):
            if self.app.screen is chat and self.app.focused is chat.composer and not chat.sending:
                break
            if self.app.screen is chat:
                chat.composer.focus()
            else:
                await self.type(b"\x1b", 1.0)
                self.driver.rest()
            await asyncio.sleep(0.05)
        await self.until(lambda: not chat.composer.message_queue_size)  # the last of the noise may still be on its way
        await asyncio.sleep(0.1)
        chat.composer.clear()
        await self.type("typed שלום\u3000x\x1b[D!".encode(), 1.0)
        try:
            await self.until(lambda: chat.composer.text == "typed שלום\u3000!x")
        except AssertionError:
            return f"what was typed arrived as {chat.composer.text!r} in {self.app.screen!r}"
        await self.type(b"\r", 1.0)
        try:
            await self.until(lambda: self.witness.sent[-1:] == ["typed שלום\u3000!x"])
            await self.until(
                lambda: any(each.messages[-1].content == "typed שלום\u3000!x" for each in self.engine.requests)
            )
        except AssertionError:
            return f"what was typed was not sent: {self.witness.sent[-1:]!r} in {self.app.screen!r}"
        return None


async def attack(number: int, history: Path) -> str | None:
    run = Run(random.Random(number), history)
    try:
        async with run.app.run_test(headless=False, size=SIZE, message_hook=run.witness.see):
            await run.until(lambda: run.app.chat.status_line.status.activity is Activity.READY)
            wrong = await run.noise(A_CASE) or run.judge()
            if wrong is None and not run.app._exit:
                wrong = await run.ask() or run.judge()
            return wrong
    except Exception as error:  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]} after {bytes(run.typed[-200:])!r}"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("EDGECHAT_CLIPBOARD", "none")
    monkeypatch.setattr("textual.screen.UPDATE_PERIOD", 0.25)  # what is drawn is not what is looked at here


def test_no_bytes_harm(campaign: Callable[[str, str], Campaign], tmp_path: Path) -> None:
    """Through the driver and its keyboard into the whole app. A case is one run of the app."""
    started = campaign("C", f"random bytes typed, {A_CASE:,} chunks a case")

    def run(number: int) -> str | None:
        return asyncio.run(asyncio.wait_for(attack(number, tmp_path / f"{number}.db"), 3600))

    started.run(sample(2, 100), run)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_no_bytes_end_a_real_terminals_chat(tmp_path: Path) -> None:
    """The same through a real terminal: it runs on, and leaves with Ctrl+Q and code 0."""
    dice = random.Random(11)
    closed = Closed(own_command("--demo"), tmp_path)
    family: list[psutil.Process] = []
    try:
        while b"ready" not in closed.out:
            closed.read(0.2)
        family = closed.family()
        for _ in range(sample(40, 1000).stop):
            closed.type(b"".join(noise(dice)).translate(None, b"\r\n\x03\x07\x11").replace(b"/quit", b"/quiz"))
            closed.read(0.01)
            assert closed.process.poll() is None, closed.out[-2000:]
        closed.read(3.0)
        closed.type(b"\x1b[201~")  # in a paste without an end, Ctrl+Q would be text
        closed.read(3.0)
        closed.type(b"\x11")  # which takes its turn after all that came before
        end = time.monotonic() + 120
        while closed.process.poll() is None and time.monotonic() < end:
            closed.read(0.5)
        assert closed.left(family) == ""
        assert closed.process.returncode == 0
        assert b"Traceback" not in closed.out
    finally:
        closed.clean(family)
