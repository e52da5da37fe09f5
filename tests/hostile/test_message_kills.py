"""Kills while a message is on its way into the history: it is in the chat or in its draft, whatever happens when."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.history.drafts import Draft
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import history_path
from tests.hostile.conftest import Campaign, sample

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no pseudo terminals to be killed in")

# The real interface on the scripted engine, which takes its time to count, as the model does on a slow device.
PROGRAM = """
import asyncio, sys
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import history_path
from edgechat.session.session import Session

class SlowEngine(ScriptedEngine):
    async def count(self, messages):
        if any("message" in one.content for one in messages):
            await asyncio.sleep(1.5)
        return await super().count(messages)

store = HistoryStore.open(history_path())
session = Session(SlowEngine(["reply"] * 1000), store, conversation=store.latest())
if sys.argv[1] == "plain":
    from edgechat.cli.plain import run_plain
    sys.exit(run_plain(session))
from edgechat.tui.app import run_tui
sys.exit(run_tui(session))
"""


class Window:
    """The program in a pseudo terminal."""

    def __init__(self, how: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, how],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        self.shown = b""

    def wait_for(self, words: bytes, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < end, f"{words!r} did not come: {self.shown[-2000:]!r}"
            self.read(0.1)

    def read(self, seconds: float) -> None:
        """Take what is shown for so long; a terminal that nobody reads would stop the program."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:  # the program has ended
                return

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def end(self, how: signal.Signals | None) -> int:
        """End it by a signal, or wait for its own end."""
        if how is not None:
            self.process.send_signal(how)
        end = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < end, "it did not end"
            self.read(0.05)
        os.close(self.master)
        return self.process.returncode


def found(words: str) -> tuple[bool, bool]:
    """Whether a text is in the chat, and whether it is in a draft."""
    store = HistoryStore.open(history_path())
    try:
        chat = store.latest()
        said = chat is not None and any(words in turn.user for turn in chat.turns)
        ids = (0, chat.id if chat is not None else 0)
        return said, any(words in store.drafts.get(id_).text for id_ in ids)
    finally:
        store.close()


def begin() -> None:
    """A chat with one turn, so that the next message is counted before it is taken."""
    store = HistoryStore.open(history_path())
    if store.latest() is None:
        turn = store.add_turn(store.create_conversation(model="scripted").id, None, "x" * 20_000)  # may not fit
        store.close_reply(store.add_reply(turn.id, "scripted").id, ReplyState.COMPLETE, text="y")
    for chat in store.list_conversations():
        store.drafts.save(chat.id, Draft())
    store.drafts.save(0, Draft())
    store.close()


def attack(number: int) -> str | None:
    chance = random.Random(636 + number)  # the first ones are ends that lost a message once
    begin()
    words = f"message {number}"
    how = "plain" if number % 4 == 3 else "tui"
    way = chance.choice(["sent", "sent", "typed", "edited"]) if how == "tui" else "sent"
    ending = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, None]) if how == "tui" else signal.SIGKILL
    window = Window(how)
    window.wait_for(b"ready")
    window.read(1.0)
    window.type(f"/edit {words}".encode() if way == "edited" else words.encode())
    window.read(1.2)  # a draft is kept half a second after the last key
    if way != "typed":
        window.type(b"\r")
        window.read(chance.uniform(*chance.choice([(0.0, 0.6), (0.6, 1.2), (0.6, 1.2), (1.2, 2.0)])))
    if ending is None:
        window.type(b"\x11")
    code = window.end(ending)
    if b"Traceback" in window.shown:
        return f"{how}, {way}, {ending}: a traceback, exit code {code}"
    said, draft = found(words)
    return None if said or draft else f"{how}, {way}, {ending}: the message is nowhere"


COMMANDS = ("/rename", "/system", "/good", "/bad", "/edit", "/mistyped")


def stored(words: str) -> bool:
    """Whether a text is anywhere in the chat, or is a draft."""
    store = HistoryStore.open(history_path())
    try:
        chat = store.latest()
        assert chat is not None
        drafts = (store.drafts.get(id_).text for id_ in (0, chat.id))
        return words in repr(chat) or any(words in draft for draft in drafts)
    finally:
        store.close()


def attack_command(number: int) -> str | None:
    chance = random.Random(9000 + number)
    begin()
    how = "plain" if number % 4 == 3 else "tui"
    # The linear chat refuses a mistyped command in the line below it, and keeps nothing of it.
    command = chance.choice(COMMANDS[:-1] if how == "plain" else COMMANDS)
    words = f"message {number}."
    window = Window(how)
    window.wait_for(b"ready")
    window.read(1.0)
    window.type(f"{command} {words}".encode())
    window.read(1.2)
    window.type(b"\r")
    # In a terminal that only echoes, the line is the program's once it was read.
    window.read(chance.uniform(0.2 if how == "plain" else 0.0, 1.5))
    code = window.end(signal.SIGKILL)
    if b"Traceback" in window.shown:
        return f"{how}, {command}: a traceback, exit code {code}"
    return None if stored(words) else f"{how}, {command}: the words are nowhere"


def test_kills_while_a_command_is_obeyed(own_home: Path, campaign: Callable[[str, str], Campaign]) -> None:
    campaign("B", "kills while a command is obeyed").run(sample(3, 60), attack_command)


def test_kills(own_home: Path, campaign: Callable[[str, str], Campaign]) -> None:
    campaign("B", "ends while a message is on its way").run(sample(4, 100), attack)
