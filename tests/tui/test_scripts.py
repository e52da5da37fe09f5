"""The world's scripts in the composer and in messages: every sign whole, every line as wide as it says."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content
from textual.pilot import Pilot

from edgechat.chat.bidi import signs_of
from edgechat.chat.conversation import Conversation
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from edgechat.tui.widgets.markdown_layout import wrapped
from tests.support.terminal import Terminal, needs_tmux
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, write

FAMILY, HEART, FLAG, SKIN, KEYCAP = "👨‍👩‍👧", "❤️", "🇮🇱", "👍🏽", "1️⃣"
SAMPLES = {
    "chinese": "这是一个没有空格的句子，必须能够在任何地方换行。" * 4,
    "japanese": "日本語の文章はスペースなしで折り返されます。ｶﾞ" * 4,
    "korean": "한국어로 쓴 문장입니다. " * 8,
    "thai": "สวัสดีชาวโลกนี่คือประโยคยาว" * 5,
    "hindi": "नमस्ते दुनिया, यह एक वाक्य है। " * 5,
    "arabic": "مرحبا بالعالم، هذه جملة. " * 5,
    "hebrew": "שָׁלוֹם עוֹלָם, זֶה מִשְׁפָּט. " * 5,
    "marks": "e\u0301a\u0308o\u0302" * 40,
    "emoji": (FAMILY + HEART + FLAG + SKIN + KEYCAP) * 12,
}


def row_widths(pilot: Pilot[None]) -> set[int]:
    """Cells of the rows of the screen, as they are written: piece by piece."""
    screen = pilot.app.screen
    return {sum(cell_len(segment.text) for segment in strip) for strip in screen._compositor.render_strips(screen.size)}


@given(
    st.text(st.sampled_from("ab 日本한अनेสัא\u05b0e\u0301"), max_size=60).map(str.strip),
    st.integers(min_value=4, max_value=30),
)
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    lines = wrapped(Content(text), width)
    assert all(line.content.cell_length <= width for line in lines)
    joined = "".join((line.join if number else "") + line.content.plain for number, line in enumerate(lines))
    assert joined.split() == text.split() or joined.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("width", [9, 20, 61])
def test_no_sign_is_torn_by_wrapping(text: str, width: int) -> None:
    lines = wrapped(Content(text), width)
    assert len(lines) > 1
    for line in lines:
        first = line.content.plain[0]
        assert first not in "\u200d\ufe0f\u20e3"
        assert unicodedata.category(first) not in ("Mn", "Me")
        assert line.content.cell_length <= width


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
async def test_every_row_of_the_screen_has_its_width(make_app: MakeApp, text: str) -> None:
    async with make_app(
        ScriptedEngine(script=[f"{text}\n\n| {text[:9]} | b |\n|---|---|\n| c | {text[:6]} |"])
    ).run_test(size=(60, 40)) as pilot:
        await ready(pilot)
        await say(pilot, text)
        await write(pilot, text)
        assert row_widths(pilot) == {60}
        turn = app_of(pilot).session.conversation.turns[-1]
        assert turn.user == text


@pytest.mark.parametrize("sign", [FAMILY, HEART, FLAG, SKIN, KEYCAP, "ש\u05b8\u05c1", "e\u0301", "ते", "สั", "日"])
async def test_the_cursor_goes_over_a_sign_as_a_whole(make_app: MakeApp, sign: str) -> None:
    async with make_app().run_test(size=(60, 20)) as pilot:
        await ready(pilot)
        composer = app_of(pilot).chat.composer
        await write(pilot, f"a{sign}b")
        await pilot.press("left", "left")
        assert composer.cursor_location == (0, 1)
        assert row_widths(pilot) == {60}
        await pilot.press("right")
        assert composer.cursor_location == (0, 1 + len(sign))
        await pilot.press("backspace")
        assert composer.text == "ab"


def test_signs_are_whole() -> None:
    text = f"a{FAMILY}{FLAG}{FLAG}{SKIN}e\u0301"
    assert [text[start:end] for start, end in signs_of(text)] == ["a", FAMILY, FLAG, FLAG, SKIN, "e\u0301"]


TYPED = "שלום مرحبا 你好 こんにちは 안녕하세요 สวัสดี 👍"


def kept() -> Conversation:
    """The chat as it is in the history."""
    store = HistoryStore.open(paths.history_path())
    latest = store.latest()
    store.close()
    assert latest is not None
    return latest


SCRIPTED = """
from edgechat.session import factory
from edgechat.engine.scripted import ScriptedEngine
factory.engine_for = lambda config: ScriptedEngine(delay=0.05)
from edgechat.cli.main import run
raise SystemExit(run([]))
"""
"""The chat on the scripted engine; unlike with `--demo` it is kept."""


@needs_tmux
def test_what_an_input_method_commits_is_sent_shown_and_kept(own_home: Path) -> None:
    """An input method hands over whole words; to a terminal's program they are characters like any other."""
    environment = {"EDGECHAT_HOME": str(own_home), "HOME": str(own_home.parent), "LANG": "C.UTF-8"}
    environment["PATH"] = os.environ["PATH"]
    with Terminal(
        [sys.executable, "-c", SCRIPTED], environment=environment, cwd=own_home.parent, columns=100
    ) as terminal:
        terminal.wait_for("ready")
        for word in TYPED.split():
            terminal.press("-l", f"{word} ")
        terminal.wait_for("안녕하세요")
        terminal.press("Enter")
        terminal.wait_for("scripted reply")
        shown = terminal.screen()
        for word in ("םולש", "你好", "こんにちは", "안녕하세요", "สวัสดี", "👍"):
            assert word in shown, word
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    latest = kept()
    assert latest.turns[0].user.strip() == TYPED


@needs_tmux
@pytest.mark.model
def test_the_real_model_is_spoken_to_in_hebrew(home_with_model: Path) -> None:
    home = home_with_model
    environment = {"EDGECHAT_HOME": str(home), "HOME": str(home.parent), "LANG": "he_IL.UTF-8"}
    environment |= {"PATH": os.environ["PATH"], "EDGECHAT_MAX_TOKENS": "24", "EDGECHAT_TEMPERATURE": "0"}
    with Terminal(paths.own_command(), environment=environment, cwd=home.parent, columns=90, rows=30) as terminal:
        terminal.wait_for("ןכומ")  # the interface speaks Hebrew, and is in order on a terminal that orders nothing
        terminal.press("-l", "שלום, what is 2+2?")
        terminal.wait_for("?what is 2+2 ,םולש")
        terminal.press("Enter")
        terminal.wait_for("׳ש/׳קוט")
        terminal.wait_for("ןכומ")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    latest = kept()
    assert latest.turns[0].user == "שלום, what is 2+2?"
    assert latest.turns[0].reply is not None
    assert latest.turns[0].reply.text
