"""A tokenizer or a chat template that never comes to an end is ended, and its user told why."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.chat.conversation import Message, ReplyState
from edgechat.engine.protocol import Finished, Request
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EdgechatError
from edgechat.runtime.paths import own_command
from tests.hostile.conftest import Campaign, sample
from tests.hostile.endless_texts import TEMPLATES, TOKENIZERS, with_template, with_tokenizer
from tests.hostile.test_worker_kills import GONE_SECONDS, heeding, states, wait_until, workers
from tests.support.chats import chat, last_chat
from tests.support.terminal import needs_tmux

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

ASKED = Request((Message("user", "a" * 60 + " hello"),), max_tokens=4)


async def answer(folder: Path, seconds: float) -> Finished | EdgechatError:
    engine = EngineClient(
        ModelSource(folder, "m"), EngineOptions(context=256, load_seconds=seconds, step_seconds=seconds)
    )
    try:
        events = [event async for event in engine.stream(ASKED)]
    except EdgechatError as error:
        return error
    finally:
        await engine.aclose()
    assert isinstance(events[-1], Finished)
    return events[-1]


async def test_every_one_ends(tiny_phi3: Path, tmp_path: Path, campaign: Callable[[str, str], Campaign]) -> None:
    fight = campaign("A", "chat templates and tokenizers without an end")
    makers: list[tuple[str, Callable[[Path], Path]]] = [
        *((name, lambda to, one=one: with_tokenizer(tiny_phi3, to, one)) for name, one in TOKENIZERS.items()),
        *((name, lambda to, one=one: with_template(tiny_phi3, to, one)) for name, one in TEMPLATES.items()),
    ]
    for number in sample(8, len(makers)):
        name, make = makers[number]
        result = await answer(make(tmp_path / str(number)), 3)
        if isinstance(result, EdgechatError) and not (result.title and result.message and result.hint):
            fight.note(number, f"{name}: {result!r}")
        elif workers():
            fight.note(number, f"{name}: a worker is left")
        else:
            fight.note(number, None)
    fight.judge()


@pytest.mark.parametrize("name", ["padding to 2^31", "padding to a multiple of 2^31", "a cut after two"])
async def test_filling_up_and_cutting_off_are_for_training(tiny_phi3: Path, tmp_path: Path, name: str) -> None:
    plain = await answer(tiny_phi3, 120)
    changed = await answer(with_tokenizer(tiny_phi3, tmp_path / "m", TOKENIZERS[name]), 120)
    assert isinstance(plain, Finished)
    assert isinstance(changed, Finished)
    assert changed.usage.prompt == plain.usage.prompt


async def test_a_tokenizer_that_gives_up_is_told_in_words(tiny_phi3: Path, tmp_path: Path) -> None:
    """Its library in Rust does so by a panic, which is none of Python's exceptions."""
    result = await answer(with_tokenizer(tiny_phi3, tmp_path / "m", TOKENIZERS["another expression"]), 120)
    assert isinstance(result, EdgechatError)
    assert result.title == "The tokenizer failed"


NAMES = ("a silent loop", "a text that grows")
QUESTION = "a" * 60 + " hello"
"""Which neither comes to the end of."""


def endless(tiny_phi3: Path, target: Path, name: str) -> Path:
    if name in TEMPLATES:
        return with_template(tiny_phi3, target, TEMPLATES[name])
    return with_tokenizer(tiny_phi3, target, TOKENIZERS[name])


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_it_at_once(tiny_phi3: Path, tmp_path: Path, name: str) -> None:
    target = endless(tiny_phi3, tmp_path / "m", name)
    program = subprocess.Popen(
        heeding(own_command("ask", "--no-history", "--model-uri", str(target), QUESTION)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(lambda: any(one.cpu_times().user > 1 for one in workers()), 120)
    program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=GONE_SECONDS)
    assert (program.returncode, "stopped" in told) == (130, True)
    assert workers() == []


@needs_tmux
@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_chat_with_it_is_stopped_and_left(
    tiny_phi3: Path, tmp_path: Path, own_home: Path, name: str, stopped: bool
) -> None:
    """By Esc, wherever it is stuck; and by Ctrl+Q, with Esc before or not."""
    with chat(own_home, "--model-uri", str(endless(tiny_phi3, tmp_path / "m", name))) as terminal:
        assert wait_until(lambda: bool(workers()), 60)
        terminal.press(QUESTION, "Enter")
        assert wait_until(lambda: any(one.cpu_times().user > 1 for one in workers()), 120)
        if stopped:
            before = {one.pid for one in workers()}
            terminal.press("Escape")
            terminal.wait_for("stopped", seconds=GONE_SECONDS)
            assert wait_until(lambda: before.isdisjoint(one.pid for one in workers()))
        terminal.press("C-q")
        terminal.wait_for("exit code 0", seconds=GONE_SECONDS)
        assert wait_until(lambda: not workers())
    assert [turn.user for turn in last_chat().turns] == [QUESTION]
    # While the model was loaded no reply had begun.
    assert states() == [ReplyState.STOPPED if stopped else None]
