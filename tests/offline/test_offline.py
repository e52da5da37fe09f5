"""Offline means: no socket to a network, no telemetry, no file outside edgechat's own folders.

Each proof runs the real program on the real model, from its first start on, with an empty HOME and without CI in the
environment, because CI=true silences the very telemetry that must be shown to be off.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgechat.runtime import paths
from tests.support.networks import no_network
from tests.support.terminal import Terminal, needs_tmux

pytestmark = pytest.mark.model

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (.ci/run installs it)"
)

ALLOWED = (".local/share/edgechat", ".local/state/edgechat", ".cache/edgechat", ".config/edgechat")
ASK = ("ask", "--temperature", "0", "--max-tokens", "12", "What is the capital of France?")


def environment(home: Path) -> dict[str, str]:
    """As little as a person's login gives, and none of the opt-outs edgechat has to set by itself."""
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        # Python's own byte code is written beside the installed package, not by edgechat.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The working directory; nothing may appear in it."""
    made = tmp_path / "work"
    made.mkdir()
    return made


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_own_folders_only(home: Path, work: Path) -> None:
    stray = {name for name in files_below(home) if not name.startswith(ALLOWED)}
    assert not stray
    assert files_below(work) == set()
    assert any(name.endswith("history.db") for name in files_below(home))


def assert_no_network(trace: str) -> None:
    """No socket of an internet family was made, let alone connected or sent from."""
    assert "exited with" in trace
    internet = [line for line in trace.splitlines() if "AF_INET" in line or "AF_NETLINK" in line]
    assert internet == []


def assert_wrote_nothing_elsewhere(trace: str, home: Path) -> None:
    """Every file opened for writing is edgechat's own, or no file at all (devices, /proc, deleted temporaries)."""
    # A line that another thread interrupts ends in "<unfinished ...>", its result elsewhere; it counts as opened.
    opened = re.findall(r'open(?:at)?\((?:[^,"]+, )?"([^"]+)", ([^)\n]+?)(?:\)\s+= \d+| <unfinished)', trace)
    assert opened
    written = {path for path, flags in opened if re.search(r"O_WRONLY|O_RDWR|O_CREAT", flags)}
    own = tuple(str(home / folder) for folder in ALLOWED)
    assert {path for path in written if not path.startswith((*own, "/dev/", "/proc/", "/sys/"))} == set()
    assert any(path.startswith(own) for path in written)


def first_answer(prefix: list[str], home: Path, work: Path, *options: str) -> None:
    """The very first start, and an answer, under another command."""
    ended = subprocess.run(
        [*prefix, *paths.own_command(*ASK, *options)],
        env=environment(home),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@needs_strace
def test_ask_opens_no_socket_and_writes_only_its_own_files(home: Path, work: Path, tmp_path: Path) -> None:
    log = tmp_path / "trace"
    # The first start converts and saves the model through MLflow, then answers: all processes are followed.
    command = ["strace", "-f", "-o", str(log), "-e", "trace=%network,openat,open,creat", "-e", "signal=none"]
    first_answer(command, home, work)
    trace = log.read_text(errors="replace")
    assert_no_network(trace)
    assert_wrote_nothing_elsewhere(trace, home)
    assert_own_folders_only(home, work)


@needs_strace
def test_a_hugging_face_model_opens_no_socket_either(home: Path, work: Path, tmp_path: Path, default_hf: Path) -> None:
    log = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(log), "-e", "trace=%network", "-e", "signal=none"]
    first_answer(command, home, work, "--model-uri", str(default_hf))
    assert_no_network(log.read_text(errors="replace"))
    assert_own_folders_only(home, work)


def test_a_first_start_and_an_answer_without_any_network(home: Path, work: Path) -> None:
    first_answer(no_network(), home, work)
    assert_own_folders_only(home, work)


@needs_strace
@needs_tmux
def test_the_chat_opens_no_socket(home_with_model: Path, home: Path, work: Path, tmp_path: Path) -> None:
    """The TUI in a real terminal: start, one message, the whole reply, quit."""
    data = home / ".local" / "share" / "edgechat"
    data.parent.mkdir(parents=True)
    (home_with_model / "data").rename(data)
    log = tmp_path / "trace"
    inner = ["strace", "-f", "-o", str(log), "-e", "trace=%network,openat,open,creat"]
    inner += paths.own_command("--system", "Be brief.")
    with Terminal(inner, environment={**environment(home), "EDGECHAT_MAX_TOKENS": "12"}, cwd=work) as terminal:
        terminal.wait_for("ready")
        terminal.press("Hello there", "Enter")
        terminal.wait_for("tok/s")
        terminal.wait_for("ready")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    trace = log.read_text(errors="replace")
    assert "_worker" in trace or trace.count("exited with") > 1
    assert_no_network(trace)
    assert_wrote_nothing_elsewhere(trace, home)
    assert_own_folders_only(home, work)


TUI_IMPORTS = """
import sys
from edgechat.__main__ import main
import edgechat.cli.main, edgechat.cli.chat, edgechat.tui.app
import asyncio
from edgechat.runtime import paths
from tests.support.terminal import Terminal, needs_tmux
from edgechat.engine.scripted import ScriptedEngine
from edgechat.session.factory import engine_for
from edgechat.settings.loader import load_config
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp

async def hold():
    session = Session(engine_for(load_config(max_tokens=4)), HistoryStore.open(paths.history_path()))
    app = EdgechatApp(session)
    async with app.run_test() as pilot:
        await pilot.press(*"hello", "enter")
        while not session.context_used:
            await pilot.pause(0.05)

asyncio.run(hold())
print(sorted(m for m in sys.modules if m.partition(".")[0] in
      ("mlflow", "pandas", "numpy", "onnx", "onnxruntime", "onnxruntime_genai", "gguf", "tokenizers")))
"""


def test_the_interface_imports_no_model_library(home_with_model: Path) -> None:
    """A whole chat with the real model, in a fresh interpreter: the heavy libraries are the worker's alone."""
    ended = subprocess.run(
        [sys.executable, "-c", TUI_IMPORTS], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().splitlines()[-1] == "[]"


def test_the_opt_outs_are_set_before_any_library_is_imported() -> None:
    script = (
        "import sys, os; import edgechat.__main__; "
        "assert not {'click', 'msgspec', 'textual', 'mlflow', 'onnxruntime_genai'} & set(sys.modules); "
        "print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "MLFLOW_DISABLE_TELEMETRY": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "1 true\n", ended.stderr
