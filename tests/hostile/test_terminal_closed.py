"""A terminal that closes, hangs up or no longer reads, at any moment: nothing of edgechat is left behind."""

from __future__ import annotations

import fcntl
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from edgechat.history.store import HistoryStore
from edgechat.models.manifest import verify_manifest
from edgechat.runtime.paths import own_command
from tests.hostile.conftest import Campaign, sample

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # forking beside a thread of pytest's
]

SECONDS = 5.0
"""What is promised from the signal to the end."""

WAYS = ("close", "hangup", "terminate", "unread", "suspended", "interrupt", "both")
KINDS = ("demo", "demo", "model", "plain", "ask")

DRAFT = "half a thought"


class Closed:
    """One edgechat in a terminal of its own, which ends in one way or another."""

    def __init__(self, command: list[str], home: Path) -> None:
        self.ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        environment = {**os.environ, "EDGECHAT_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor"}

        def prepare() -> None:
            os.login_tty(theirs)
            for number in (signal.SIGHUP, signal.SIGINT):  # which whoever runs the tests may ignore
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        self.process = subprocess.Popen(command, env=environment, preexec_fn=prepare)  # noqa: PLW1509 - nothing else can
        os.close(theirs)
        self.out = bytearray()

    def read(self, seconds: float) -> None:
        """Read what it writes for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.ours], [], [], left)[0]:
                try:
                    self.out += os.read(self.ours, 65536)
                except OSError:
                    return

    def read_until(self, done: Callable[[], bool]) -> None:
        """Read what it writes until that is so."""
        end = time.monotonic() + 120
        while not done():
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < end, self.shown
            self.read(0.05)

    @property
    def shown(self) -> str:
        """All that it has shown so far, without colours; what was drawn at different places is on different lines."""
        text = self.out.decode("utf-8", "replace")
        return re.sub(r"\x1b\[[0-9;?<>=]*[ -/]*[@-~]", "\n", re.sub(r"\x1b\[[0-9;:]*m", "", text))

    def type(self, data: bytes) -> None:
        """Type, unless it has ended or does not read."""
        if select.select([], [self.ours], [], 1)[1]:
            os.write(self.ours, data)

    def family(self) -> list[psutil.Process]:
        """It and all that it started."""
        try:
            mother = psutil.Process(self.process.pid)
            return [mother, *mother.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end(self, way: str) -> None:
        """End it in that way."""
        if way in ("close", "both"):
            os.close(self.ours)
            self.ours = -1
        numbers: dict[str, list[signal.Signals]] = {
            "hangup": [signal.SIGHUP],
            "terminate": [signal.SIGTERM],
            "unread": [signal.SIGTERM],
            "suspended": [signal.SIGTSTP, signal.SIGTERM, signal.SIGCONT],
            "interrupt": [signal.SIGINT, signal.SIGTERM],
            "both": [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP],
        }
        for number in numbers.get(way, []):
            if self.process.poll() is None:
                self.process.send_signal(number)
                time.sleep(0.1 if way == "suspended" else 0)

    longest: ClassVar[float] = 0.0
    """The longest time after which all was gone, of every one so far."""

    def left(self, family: list[psutil.Process]) -> str:
        """What is there when the time is up, in words; empty for nothing."""
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * SECONDS:  # twice, as the machine may be busy
            if self.process.poll() is not None and not any(map(_runs, family)):
                Closed.longest = max(Closed.longest, time.monotonic() - begun)
                return ""
            time.sleep(0.02)
        there = [_name(each) for each in family if _runs(each)] or ["itself"]
        longest = f"the others were gone after {Closed.longest:.1f} s at the most"
        return f"left after {time.monotonic() - begun:.0f} s: {there}; {longest}"

    def clean(self, family: list[psutil.Process]) -> None:
        """Leave nothing of it."""
        if self.ours >= 0:
            os.close(self.ours)
        for each in family:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.kill()
        self.process.wait()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[-3:])
    except psutil.NoSuchProcess:
        return str(process.pid)


def _command(kind: str, model: Path) -> list[str]:
    if kind == "model":
        return own_command("--model", str(model))
    if kind == "plain":
        return own_command("--plain", "--model", str(model))
    if kind == "ask":
        return own_command("ask", "--no-stdin", "--model", str(model), "--max-tokens", "3000", "tell me")
    return own_command("--demo")


def leave_unread(closed: Closed, dice: random.Random) -> None:
    """Let it go on writing to a terminal that nobody reads."""
    for _ in range(40):
        closed.type(b"x\x10\x1b")
    time.sleep(dice.uniform(0.5, 2.0))


def attack(number: int, home: Path, model: Path) -> str | None:
    dice = random.Random(number)
    kind, way = KINDS[number % len(KINDS)], WAYS[number % len(WAYS)]
    closed = Closed(_command(kind, model), home)
    family: list[psutil.Process] = []
    try:
        closed.read(dice.uniform(0.2, 4.0))
        if kind != "ask" and dice.random() < 0.7:
            closed.type(b"some words" + dice.choice([b"", b"\r", b"\r", b"\x1bOP", b"\x10", b"\x0f"]))
            if way != "unread":
                closed.read(dice.uniform(0.0, 2.0))
        if way == "unread":
            leave_unread(closed, dice)
        family = closed.family()
        closed.end(way)
        left = closed.left(family)
        code = closed.process.poll()
        if left:
            return f"{kind}, {way}: {left}"
        if code == 0 and family:
            return f"{kind}, {way}: it ended with code 0"
        if b"Traceback" in closed.out:
            return f"{kind}, {way}: a traceback was shown"
        return None
    finally:
        closed.clean(family)


def test_nothing_is_left_behind_by_a_terminal_that_closes(
    campaign: Callable[[str, str], Campaign], tmp_path: Path, tiny_llama: Path
) -> None:
    """Also the worker, also while a reply is written, also where nobody reads what is drawn."""
    campaign("C", "terminals closed at any moment").run(
        sample(6, 100), lambda number: attack(number, tmp_path / str(number), tiny_llama)
    )


def test_an_end_that_something_holds_up_comes_all_the_same(tmp_path: Path) -> None:
    """An orderly end that never comes is ended by force, with the terminal given back and a code that tells it."""
    program = tmp_path / "held_up.py"
    program.write_text(
        "import asyncio\n"
        "from pathlib import Path\n"
        "from edgechat.engine.scripted import ScriptedEngine\n"
        "from edgechat.history.store import HistoryStore\n"
        "from edgechat.session.session import Session\n"
        "from edgechat.tui.app import run_tui\n"
        "class HeldUp(Session):\n"
        "    async def aclose(self):\n"
        "        while True:\n"
        "            await asyncio.sleep(1)\n"
        f"run_tui(HeldUp(ScriptedEngine(['x']), HistoryStore.open(Path({str(tmp_path / 'h.db')!r}))))\n",
        "utf-8",
    )
    closed = Closed([sys.executable, "-P", str(program)], tmp_path)
    family: list[psutil.Process] = []
    try:
        while b"ready" not in closed.out:
            closed.read(0.2)
            assert closed.process.poll() is None, closed.out
        family = closed.family()
        closed.end("terminate")
        closed.read(0.5)
        assert closed.left(family) == ""
        assert closed.process.returncode == 128 + signal.SIGTERM
        assert b"\x1b[?1049l" in closed.out
    finally:
        closed.clean(family)


def chatting(number: int, folder: Path) -> str | None:
    """Close the terminal of a chat in which a reply is written and a message half typed; None if both were kept."""
    dice, way = random.Random(number), WAYS[number % len(WAYS)]
    folder.mkdir()
    program = folder / "chatting.py"
    program.write_text(
        "from pathlib import Path\n"
        "from edgechat.engine.scripted import ScriptedEngine\n"
        "from edgechat.history.store import HistoryStore\n"
        "from edgechat.session.session import Session\n"
        "from edgechat.tui.app import run_tui\n"
        "words = ' '.join(f'word{n:04}' for n in range(9999))\n"
        f"store = HistoryStore.open(Path({str(folder / 'h.db')!r}))\n"
        "raise SystemExit(run_tui(Session(ScriptedEngine([words], delay=0.02), store)))\n",
        "utf-8",
    )
    closed = Closed([sys.executable, "-P", str(program)], folder)
    family: list[psutil.Process] = []
    try:
        closed.read_until(lambda: "ready" in closed.shown)
        closed.type(b"tell me\r")
        closed.read_until(lambda: "word0003" in closed.shown)
        closed.type(DRAFT.encode())
        closed.read_until(lambda: DRAFT in closed.shown)
        closed.read(dice.uniform(0.0, 1.0))
        if way == "unread":
            leave_unread(closed, dice)
        family = closed.family()
        closed.end(way)
        if left := closed.left(family):
            return f"{way}: {left}"
    finally:
        closed.clean(family)
    with closing(HistoryStore.open(folder / "h.db")) as store:
        chat = store.latest()
        reply = chat.turns[-1].reply if chat is not None else None
        draft = store.drafts.get(chat.id).text if chat is not None else ""
    last = max(re.findall(r"word\d{4}", closed.shown))
    if reply is None or last not in reply.text:
        return f"{way}: {last} was shown, and is not in {reply and reply.text[-30:]!r}"
    return None if DRAFT in draft else f"{way}: the message being written is now {draft!r}"


def test_what_was_typed_and_what_was_answered_outlive_the_terminal(
    campaign: Callable[[str, str], Campaign], tmp_path: Path
) -> None:
    campaign("C", "terminals closed while a reply is written").run(
        sample(len(WAYS), 100), lambda number: chatting(number, tmp_path / str(number))
    )


BIG = 192 << 20
"""Bytes beside a model that make its copying take a moment."""


def installing(number: int, folder: Path, model: Path) -> str | None:
    """Close the terminal of a command that writes a model; None if nothing of it is left, and it works afterwards."""
    dice, way, adds = random.Random(number), WAYS[number % len(WAYS)], number % 2 == 0
    home, source = folder / "home", folder / "source"
    out = home / "data" / "models" / "m" if adds else folder / "m"
    shutil.copytree(model, source)
    with (source / "beside.bin").open("wb") as file:
        file.truncate(BIG)
    command = ["models", "add", str(source), "--name", "m"] if adds else ["package", str(source), "--out", str(out)]
    command = own_command(*command)

    def unfinished() -> list[Path]:
        return [path for path in out.parent.glob(".staging-*" if adds else ".m.*") if path.is_dir()]

    closed = Closed(command, home)
    family: list[psutil.Process] = []
    try:
        closed.read_until(lambda: bool(unfinished()))
        if way == "unread":
            leave_unread(closed, dice)
        else:
            closed.read(dice.uniform(0.0, 0.4))
        family = closed.family()
        closed.end(way)
        if left := closed.left(family):
            return f"{command[-4:]}, {way}: {left}"
        if not out.exists():
            environment = {**os.environ, "EDGECHAT_HOME": str(home)}
            again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
            if again.returncode:
                return f"{command[-4:]}, {way}: the next run ended with {again.returncode}: {again.stderr}"
            if unfinished():
                return f"{command[-4:]}, {way}: the next run left {unfinished()}"
        if problems := verify_manifest(out):
            return f"{command[-4:]}, {way}: it is not whole: {problems}"
        return None
    finally:
        closed.clean(family)
        shutil.rmtree(folder, ignore_errors=True)


def test_no_half_model_is_left_behind_by_a_terminal_that_closes(
    campaign: Callable[[str, str], Campaign], tmp_path: Path, tiny_llama: Path
) -> None:
    campaign("C", "terminals closed while a model is installed or packaged").run(
        sample(len(WAYS), 70), lambda number: installing(number, tmp_path / str(number), tiny_llama)
    )
