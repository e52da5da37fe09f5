"""A fault where nobody waits for it is a card or a sentence; never a traceback, never exit code 0."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgechat.errors import FaultError
from edgechat.runtime import crash_handler
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, told

PROGRAM = """
import sys, threading
from edgechat.cli import main
def fail(_arguments):
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    return 0
main._call = fail
main.watch_faults()
raise SystemExit(main.run(["--version"]))
"""


def _divide() -> None:
    raise ZeroDivisionError("words of a chat")


async def test_a_fault_of_a_thread_is_a_card(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", crash_handler._of_thread)
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        with crash_handler.told_to(app.show_fault):
            await asyncio.to_thread(_start_and_join)
            await told(pilot, "Something went wrong in edgechat itself")
        assert FaultError.seen


async def test_a_fault_of_a_task_is_a_card(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        with crash_handler.told_to(app.show_fault):
            asyncio.get_running_loop().call_soon(_divide)
            await told(pilot, "Something went wrong in edgechat itself")


def _start_and_join() -> None:
    thread = threading.Thread(target=_divide)
    thread.start()
    thread.join()


def test_a_fault_of_a_commands_thread_is_a_sentence_and_a_code(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Something went wrong in edgechat itself" in done.stderr
    assert "Traceback" not in done.stderr
