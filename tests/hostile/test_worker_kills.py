"""A worker never outlives its parent, and never keeps its user waiting, whatever it computes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgechat.chat.conversation import Message, ReplyState
from edgechat.engine.protocol import Finished, Progress, Request, StoppedError, TextDelta
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EngineError, ModelError
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from edgechat.runtime.paths import own_command
from edgechat.session.factory import engine_for
from edgechat.session.session import Session, TurnClosed
from edgechat.settings.loader import load_config
from tests.hostile.conftest import Campaign, sample
from tests.hostile.endless import make_endless
from tests.support.chats import chat, last_chat
from tests.support.terminal import Terminal, needs_tmux

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

GONE_SECONDS = 20
"""How long to wait for what takes two seconds on a quiet machine."""

ASKED = Request((Message("user", "Tell me a very long story about a lighthouse keeper."),), max_tokens=400)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, tiny_phi3: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("endless")
    return {when: make_endless(tiny_phi3, folder / when, when) for when in ("load", "reply")}


def workers() -> list[psutil.Process]:
    """The workers of this test's own home."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        home = (process.info["environ"] or {}).get("EDGECHAT_HOME")
        if "_worker" in (process.info["cmdline"] or []) and home == os.environ["EDGECHAT_HOME"]:
            found.append(process)
    return [one for one in found if one.info["status"] != psutil.STATUS_ZOMBIE]


def wait_until(done: Callable[[], bool], seconds: float = GONE_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def heeding(command: list[str]) -> list[str]:
    """Let a program heed what whoever runs the tests may ignore, as `nohup` and the jobs of a shell do."""
    code = "import os, signal, sys\n"
    code += "for one in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM): signal.signal(one, signal.SIG_DFL)\n"
    return [sys.executable, "-S", "-c", code + "os.execvp(sys.argv[1], sys.argv[1:])", *command]


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def test_no_worker_is_left_behind(
    endless: dict[str, Path], default_genai: Path, own_home: Path, campaign: Callable[[str, str], Campaign]
) -> None:
    """The program is ended at random moments: as its worker starts, loads for ever, or computes for ever.

    And as a real model reads a long question, or writes a long answer.
    """
    fight = campaign("A", "ends of the program while its worker computes")

    def attack(seed: int) -> str | None:
        chance = random.Random(seed)
        number, when = SIGNALS[seed % 4], ("load", "reply", "reading", "writing")[(seed + seed // 4) % 4]
        asked = "word " * 6000 if when == "reading" else "Tell me a very long story about a lighthouse keeper."
        program = subprocess.Popen(
            heeding(own_command("ask", "--no-history", "--model-uri", str(endless.get(when, default_genai)), asked)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert program.stdout is not None
        try:
            if not wait_until(lambda: bool(workers()) or program.poll() is not None, 60):
                return "no worker came"
            if when == "writing" and not program.stdout.read(1):
                return "nothing was written"
            time.sleep(chance.choice((0, chance.random() / 4, chance.random() * (4 if when == "reading" else 2))))
            program.send_signal(number)
            began = time.monotonic()
            if not wait_until(lambda: program.poll() is not None and not workers()):
                return f"{number.name} while {when}: {[one.pid for one in workers()]} after {GONE_SECONDS} s"
            return None if time.monotonic() - began < GONE_SECONDS else "it took too long"
        finally:
            program.kill()
            program.communicate()
            for one in workers():
                one.kill()

    fight.run(sample(8, 200), attack)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_job_in_the_background_of_a_shell(tiny_phi3: Path, endless: dict[str, Path], number: int, code: int) -> None:
    """A shell has it ignore Ctrl+C: it goes on then, as any other program, and ends when it is told to."""
    model = tiny_phi3 if number == signal.SIGINT else endless["load"]
    command = own_command("ask", "--no-history", "--max-tokens", "8", "--model-uri", str(model), "hello")
    job = subprocess.Popen(
        heeding(["sh", "-c", '"$@" & echo $!; wait $!; echo $?', "sh", *command]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert job.stdout is not None
    program = int(job.stdout.readline())
    assert wait_until(lambda: bool(workers()), 60)
    os.kill(program, number)
    out, _ = job.communicate(timeout=60)
    assert int(out.split()[-1]) == code
    assert workers() == []


@pytest.mark.parametrize("when", ["load", "reply"])
def test_ctrl_c_ends_a_question(endless: dict[str, Path], when: str) -> None:
    program = subprocess.Popen(
        heeding(own_command("ask", "--model-uri", str(endless[when]), "hello")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(lambda: any(one.cpu_times().user > 1 for one in workers()), 120)
    program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=GONE_SECONDS)
    assert program.returncode == 130
    assert "stopped" in told
    assert workers() == []
    # While the model was loaded no reply had begun.
    assert states() == [None if when == "load" else ReplyState.STOPPED]


def leave(terminal: Terminal, plain: bool) -> None:
    if plain:  # the shell around it has heard Ctrl+C too, and ends with it
        terminal.press("/quit", "Enter")
        assert wait_until(lambda: not any(home_of(one) for one in psutil.process_iter(["environ"])))
    else:
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def home_of(process: psutil.Process) -> bool:
    own = os.environ["EDGECHAT_HOME"]
    return (process.info["environ"] or {}).get("EDGECHAT_HOME") == own and process.pid != os.getpid()


def states() -> list[ReplyState | None]:
    return [turn.reply.state if turn.reply else None for turn in last_chat().turns]


@needs_tmux
@pytest.mark.parametrize("plain", [False, True])
def test_a_reply_without_an_end_is_stopped_and_the_chat_goes_on(
    endless: dict[str, Path], own_home: Path, plain: bool
) -> None:
    options = ("--plain", "--model-uri", str(endless["reply"])) if plain else ("--model-uri", str(endless["reply"]))
    with chat(own_home, *options) as terminal:
        terminal.wait_for("ready")
        for text in ("hello", "again"):
            terminal.press(text, "Enter")
            assert wait_until(lambda: any(one.cpu_times().user > 1 for one in workers()), 120)
            before = {one.pid for one in workers()}
            terminal.press("C-c" if plain else "Escape")
            terminal.wait_for("The reply was stopped" if plain else "stopped", seconds=GONE_SECONDS)
            assert wait_until(lambda before=before: before.isdisjoint(one.pid for one in workers()))  # type: ignore[misc]
        leave(terminal, plain)
    assert workers() == []
    assert states() == [ReplyState.STOPPED] * 2


@needs_tmux
@pytest.mark.parametrize("plain", [False, True])
def test_a_load_without_an_end_is_stopped(endless: dict[str, Path], own_home: Path, plain: bool) -> None:
    options = ("--plain", "--model-uri", str(endless["load"])) if plain else ("--model-uri", str(endless["load"]))
    with chat(own_home, *options) as terminal:
        terminal.wait_for("oading")
        assert wait_until(lambda: bool(workers()), 60)
        terminal.press("C-c" if plain else "Escape")
        terminal.wait_for("The model is not ready" if plain else "The model was stopped", seconds=GONE_SECONDS)
        assert wait_until(lambda: not workers())
        terminal.press("hello", "Enter")  # it loads again
        assert wait_until(lambda: bool(workers()), 60)
        terminal.press("C-c" if plain else "Escape")
        assert wait_until(lambda: not workers())
        leave(terminal, plain)
    assert states() == [ReplyState.STOPPED]


async def test_loading_has_a_bound(endless: dict[str, Path]) -> None:
    engine = EngineClient(ModelSource(endless["load"], "m"), EngineOptions(context=256, load_seconds=4))
    try:
        with pytest.raises(ModelError, match="still not loaded") as caught:
            await engine.start()
        assert caught.value.hint
        assert workers() == []
    finally:
        await engine.aclose()


async def test_a_step_of_a_reply_has_a_bound(endless: dict[str, Path]) -> None:
    engine = EngineClient(ModelSource(endless["reply"], "m"), EngineOptions(context=256, step_seconds=4))
    try:
        await engine.start()
        with pytest.raises(EngineError, match="Nothing came of it"):
            [event async for event in engine.stream(ASKED)]
        assert engine.info is None
        with pytest.raises(EngineError, match="Nothing came of it"):  # of what is computed ahead
            await engine.prefill(ASKED.messages)
    finally:
        await engine.aclose()


async def test_a_slow_worker_that_goes_on_is_left_alone(tiny_phi3: Path) -> None:
    """What takes long step by step is no endless step: the worker says now and then that it goes on."""
    engine = EngineClient(ModelSource(tiny_phi3, "m"), EngineOptions(context=512, step_seconds=60))
    try:
        await engine.start()
        assert engine.pid is not None
        events = [event async for event in engine.stream(Request((Message("user", "word " * 60),), max_tokens=40))]
        assert isinstance(events[-1], Finished)
    finally:
        await engine.aclose()


async def test_whoever_counts_on_a_stuck_worker_is_freed(tiny_phi3: Path) -> None:
    engine = EngineClient(ModelSource(tiny_phi3, "m"), EngineOptions(context=256))
    try:
        await engine.start()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        counting = asyncio.create_task(engine.count(ASKED.messages))
        await asyncio.sleep(0.2)
        await engine.stop()
        with pytest.raises(StoppedError):
            await asyncio.wait_for(counting, GONE_SECONDS)
        assert await engine.count(ASKED.messages) > 0  # by another worker
    finally:
        await engine.aclose()


async def test_stopping_a_load_that_is_nearly_over_loses_nothing(tiny_phi3: Path) -> None:
    engine = EngineClient(ModelSource(tiny_phi3, "m"), EngineOptions(context=256))
    try:
        await engine.start()
        pid = engine.pid
        await engine.stop()
        assert (await engine.start()).context == 256
        assert engine.pid == pid
    finally:
        await engine.aclose()


SLOW_WORKER = """
import ctypes
from edgechat.engine import genai
from edgechat.engine.worker import process
class Slow:  # each token of a prompt takes a while, in which Python's lock is held
    def __init__(self, generator): self._generator = generator
    def __getattr__(self, name): return getattr(self._generator, name)
    def append_tokens(self, tokens):
        ctypes.PyDLL(None).usleep({} * len(tokens))
        self._generator.append_tokens(tokens)
make = genai.GenaiModel._make_generator
def make_slow(self):
    generator, params = make(self)
    return Slow(generator), params
genai.GenaiModel._make_generator = make_slow
raise SystemExit(process.main())
"""


@pytest.mark.parametrize("microseconds", [30_000, 100_000])
async def test_stopping_a_slow_device_costs_no_reload(
    tiny_phi3: Path, monkeypatch: pytest.MonkeyPatch, microseconds: int
) -> None:
    """A chunk of 64 tokens would take two or six seconds: fewer are computed at once, so that a stop finds its end."""
    code = SLOW_WORKER.format(microseconds)
    monkeypatch.setattr(paths, "own_command", lambda *_: [sys.executable, "-P", "-c", code])
    engine = EngineClient(ModelSource(tiny_phi3, "m"), EngineOptions(context=512))
    try:
        await engine.start()
        pid = engine.pid
        asked = Request((Message("user", "word " * 60),), max_tokens=4)
        async for event in engine.stream(asked):
            if isinstance(event, Progress):
                await engine.stop()
        assert isinstance(event, Finished)
        assert event.reason == "cancelled"
        assert engine.pid == pid
    finally:
        await engine.aclose()


@pytest.mark.model
async def test_what_a_stuck_worker_had_written_stays(home_with_model: Path) -> None:
    store = HistoryStore.open(home_with_model / "data" / "history.db")
    session = Session(engine_for(load_config()), store, max_tokens=400)
    try:
        text = ""
        closed: TurnClosed | None = None
        async for event in session.send("Tell me a very long story about a lighthouse keeper."):
            if isinstance(event, TextDelta):
                text += event.text
                if len(text) > 40 and not session._activity.stop_requested():
                    for worker in workers():
                        worker.suspend()
                    await session.stop()
            elif isinstance(event, TurnClosed):
                closed = event
        assert closed is not None
        assert closed.turn.reply is not None
        assert closed.turn.reply.state is ReplyState.STOPPED
        assert closed.turn.reply.text == text
        assert workers() == []
        session.prompts.max_tokens = 4
        events = [event async for event in session.send("And now?")]
        assert isinstance(events[-1], TurnClosed)
    finally:
        await session.aclose()


BUSY_PARENT = """
import ctypes, os, subprocess, sys, time
child = (
    "import ctypes, os, sys; from edgechat.runtime import parent_watch; "
    "parent_watch.{way}(int(sys.argv[1])); sys.stdout.write('on\\\\n'); sys.stdout.flush(); "
    "ctypes.PyDLL(None).sleep(1000)"  # with Python's lock held, as the engine does
)
process = subprocess.Popen([sys.executable, "-c", child, str(os.getpid())], stdout=subprocess.PIPE)
process.stdout.readline()
sys.stdout.write(f"{{process.pid}}\\n")
sys.stdout.flush()
time.sleep(1000)
"""


@pytest.mark.parametrize("way", ["end_with", "watch"])
def test_either_way_of_ending_with_the_parent(way: str) -> None:
    """By the kernel, as on Linux, and by a process that waits, as elsewhere."""
    with subprocess.Popen([sys.executable, "-c", BUSY_PARENT.format(way=way)], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        child = psutil.Process(int(program.stdout.readline()))
        family = [child, *child.children()]
        assert len(family) == (2 if way == "watch" else 1)
        program.kill()
    assert wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))


def test_a_child_whose_parent_has_gone_already_ends(tmp_path: Path) -> None:
    ended = subprocess.run(
        own_command("_worker", "1"), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert ended.stdout == b""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such bound")
def test_memory_has_a_bound(tmp_path: Path) -> None:
    """Memory that is only asked for counts too, and a library is told rather than ended."""
    code = (
        "from pathlib import Path; from edgechat.runtime.memory_limit import SLACK, bound_memory; "
        "bound_memory(100_000_000, Path('.')); some = bytes(100_000_000)\n"
        "try: more = bytes(64 * SLACK)\n"
        "except MemoryError: print('refused', Path('/proc/self/oom_score_adj').read_text())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.stdout.split() == ["refused", "300"], ended.stderr
