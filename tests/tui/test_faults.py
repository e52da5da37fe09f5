"""A fault where nobody waits for it is a card or a sentence; never a traceback, never exit code 0."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import FaultError
from edgechat.history.store import HistoryStore
from edgechat.runtime import crash_handler
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp, run_tui
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, say, told, until

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
    monkeypatch.setattr(threading, "excepthook", crash_handler._handle_thread)
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        with crash_handler.reporting_to(app.faults.show_from_thread):
            await asyncio.to_thread(_start_and_join)
            await told(pilot, "Something went wrong in edgechat itself")
        assert FaultError.seen


async def test_a_fault_of_a_task_is_a_card(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        with crash_handler.reporting_to(app.faults.show_from_thread):
            asyncio.get_running_loop().call_soon(_divide)
            await told(pilot, "Something went wrong in edgechat itself")


@pytest.mark.parametrize("asked", [False, True])
def test_an_app_that_ends_unasked_says_so(
    history: Path, monkeypatch: pytest.MonkeyPatch, asked: bool, own_home: Path
) -> None:
    """Its own task is cancelled, by whoever it was; what was typed and answered is kept."""

    def run(app: EdgechatApp) -> None:
        async def main() -> None:
            own = asyncio.current_task()
            assert own is not None

            async def meanwhile(pilot: Pilot[object]) -> None:
                await until(pilot, lambda: bool(app.chat.query("#status")))
                await ready(pilot)
                await say(pilot, "hi")
                await pilot.press("o", "n", "e")
                if asked:
                    await pilot.press("ctrl+q")
                else:
                    own.cancel()

            await app.run_async(headless=True, auto_pilot=meanwhile)

        asyncio.run(main())

    monkeypatch.setattr(EdgechatApp, "run", run)
    session = Session(ScriptedEngine(), HistoryStore.open(history))
    if asked:
        assert run_tui(session) == 0
    else:
        with pytest.raises(FaultError, match="CancelledError in the interface") as caught:
            run_tui(session)
        assert caught.value.exit_code
        assert caught.value.hint
    with closing(HistoryStore.open(history)) as store:
        kept = store.latest()
        assert kept is not None
        assert kept.turns[-1].reply is not None
        assert store.drafts.get(kept.id).text == "one"


def _start_and_join() -> None:
    thread = threading.Thread(target=_divide)
    thread.start()
    thread.join()


def test_a_fault_of_a_commands_thread_is_a_sentence_and_a_code(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Something went wrong in edgechat itself" in done.stderr
    assert "Traceback" not in done.stderr
