"""The chat as a person has it: the real program on the real model in a real terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.runtime import paths
from tests.support.chats import chat, last_chat
from tests.support.terminal import needs_tmux

pytestmark = [pytest.mark.model, needs_tmux]


def states() -> list[ReplyState | None]:
    return [turn.reply.state if turn.reply else None for turn in last_chat().turns]


def worker_pid() -> int:
    for process in psutil.process_iter(["cmdline", "environ"]):
        home = (process.info["environ"] or {}).get("EDGECHAT_HOME")
        if "_worker" in (process.info["cmdline"] or []) and home == os.environ["EDGECHAT_HOME"]:
            return int(process.pid)
    raise AssertionError("no worker is running")


def wait_until_written(characters: int = 100, *, turns: int = 1) -> None:
    """Wait until the journal of that turn's reply holds that many characters."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if paths.history_path().exists():
            replies = [turn.reply for turn in last_chat().turns]
            if len(replies) >= turns and (reply := replies[turns - 1]) and len(reply.text) >= characters:
                return
        time.sleep(0.1)
    raise AssertionError("nothing was written")


LONG = "Tell me a very long story about a lighthouse keeper, with many chapters."


def test_three_turns_with_a_stop_then_quit_and_continue(home_with_model: Path) -> None:
    # Bounded: what the model says after half a story is nobody's to foretell, and it may say it without end.
    with chat(home_with_model, EDGECHAT_MAX_TOKENS="300") as terminal:
        terminal.wait_for("Enter sends")
        terminal.press("What is the capital of France?")  # one can type while the model loads
        terminal.wait_for("ready")
        terminal.press("Enter")
        terminal.wait_for("Paris")
        terminal.wait_for("tok/s")
        terminal.wait_for("ready")
        terminal.press(LONG, "Enter")
        terminal.wait_for("writing")
        wait_until_written(turns=2)
        terminal.press("Escape")
        terminal.wait_for("stopped")
        terminal.press("Name a river.", "Enter")
        terminal.wait_for("Name a river.")
        terminal.wait_for("ready")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    first, second, third = states()
    assert (first, second) == (ReplyState.COMPLETE, ReplyState.STOPPED)
    assert third in (ReplyState.COMPLETE, ReplyState.LENGTH)
    stopped = last_chat().turns[1].reply
    assert stopped is not None
    assert len(stopped.text) > 40
    with chat(home_with_model, "--continue", EDGECHAT_MAX_TOKENS="30") as terminal:
        terminal.wait_for("ready")
        terminal.press("C-Home")
        terminal.wait_for("Paris")
        terminal.press("And another.", "Enter")
        terminal.wait_for("And another.")
        terminal.wait_for("tok/s")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    assert len(last_chat().turns) == 4


def test_kill_9_of_the_program_keeps_the_chat(home_with_model: Path) -> None:
    with chat(home_with_model) as terminal:
        terminal.wait_for("ready")
        terminal.press(LONG, "Enter")
        wait_until_written()
        worker = psutil.Process(worker_pid())
        program = worker.parent()
        assert program is not None
        program.kill()
        worker.wait(timeout=30)  # a worker never outlives its program
    assert states() == [ReplyState.INTERRUPTED]
    with chat(home_with_model, "--continue") as terminal:
        terminal.wait_for("interrupted")
        terminal.wait_for("lighthouse")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def test_kill_9_of_the_worker_is_told_and_survived(home_with_model: Path) -> None:
    with chat(home_with_model) as terminal:
        terminal.wait_for("ready")
        terminal.press(LONG, "Enter")
        wait_until_written()
        os.kill(worker_pid(), signal.SIGKILL)
        terminal.wait_for("ended by the system")
        # What it answers depends on how much of the story came; that a new worker answers is the point.
        terminal.press("What is the capital of France?", "Enter")
        terminal.wait_for("What is the capital")
        wait_until_written(10, turns=2)
        terminal.press("C-q")  # a reply still being written is stopped and kept
        terminal.wait_for("exit code 0")
    failed, answered = states()
    assert failed is ReplyState.FAILED
    assert answered in (ReplyState.COMPLETE, ReplyState.STOPPED)


def test_a_message_sent_while_the_model_is_installed(own_home: Path) -> None:
    """The very first start: nothing is installed, one types and sends at once, and is answered."""
    with chat(own_home) as terminal:
        terminal.wait_for("installing")
        terminal.press("What is the capital of France?", "Enter")
        terminal.wait_for("Paris", seconds=300)
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def test_other_scripts_and_a_long_paste(home_with_model: Path) -> None:
    text = "שלום עולם 你好世界 🚀\n" + "word " * 200
    with chat(home_with_model, EDGECHAT_MAX_TOKENS="5") as terminal:
        terminal.wait_for("ready")
        terminal.paste(text)
        terminal.wait_for("word word")
        terminal.press("Enter")
        terminal.wait_for("tok/s")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    assert last_chat().turns[0].user.rstrip() == text.rstrip()


@pytest.mark.parametrize(("columns", "rows"), [(20, 10), (40, 12), (200, 50)])
def test_sizes(home_with_model: Path, columns: int, rows: int) -> None:
    with chat(home_with_model, columns=columns, rows=rows) as terminal:
        terminal.wait_for("─" * (columns // 2))
        terminal.press("Hi", "Enter")
        wait_until_written(2)
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def test_a_bad_model_is_an_error_one_can_read(home_with_model: Path) -> None:
    with chat(home_with_model, "--model-uri", "./nowhere") as terminal:
        terminal.wait_for("nowhere")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
