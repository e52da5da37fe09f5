"""Pictures of the screen. They hold no clock, no cursor that blinks, and no measured speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError, ModelError
from edgechat.i18n import catalog
from edgechat.tui.app import EdgechatApp
from edgechat.tui.dialogs.prompt import PromptScreen
from edgechat.tui.widgets.notices import ErrorCard
from edgechat.tui.widgets.status import Activity, StatusLine
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, screen_text, until, write
from tests.tui.test_sidebar import listed

Snapshot = Callable[..., bool]

REPLY = """Two ways to list files:

1. **ls** shows names; `ls -l` also sizes
2. **find** walks folders

```python
from pathlib import Path

for path in sorted(Path().iterdir()):
    print(path.name)  # one a line
```

| Command | Hidden files |
|---------|:------------:|
| ls      | no           |
| 日本語   | はい          |

שלום עולם, <b>not bold</b>, [red]not red[/].
"""


def prepared(app: EdgechatApp, steps: Callable[[Pilot[Any]], Any]) -> Callable[[Pilot[Any]], Any]:
    async def prepare(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(app.chat.query(StatusLine)))
        app.chat.composer.cursor_blink = False
        await steps(pilot)
        status = app.chat.status_line
        if status.status.speed:
            status.status = replace(status.status, speed=31.4)
        await pilot.pause()

    return prepare


def test_empty_dark(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app()
    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, ready))


def test_reply_dark(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([REPLY], delay=0.001))

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await say(pilot, "How do I list files?\n    Keep it short.")

    assert snap_compare(app, terminal_size=(80, 34), run_before=prepared(app, steps))


def test_reply_light_and_wide(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([REPLY], delay=0.001))

    async def steps(pilot: Pilot[Any]) -> None:
        app.theme = "edgechat-light"
        await ready(pilot)
        await say(pilot, "How do I list files?")

    assert snap_compare(app, terminal_size=(160, 36), run_before=prepared(app, steps))


def test_error_after_a_partial_reply(snap_compare: Snapshot, make_app: MakeApp) -> None:
    failure = EngineError("The model process ended", "Its exit code was 137.", "Send the message again.")
    app = make_app(ScriptedEngine(["One two three four five."], fail_after=3, failure=failure))

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await say(pilot, "Count.", Activity.ERROR)
        status = app_of(pilot).chat.status_line
        status.status = replace(status.status, speed=0.0)

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, steps))


def test_no_model_small(snap_compare: Snapshot, make_app: MakeApp) -> None:
    failure = ModelError("No model installed", "There is no model in /models.", "Run: edgechat models add PATH")
    app = make_app(ScriptedEngine(fail_start=failure))

    async def steps(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(app.query(ErrorCard)))
        await write(pilot, "a message\nof two lines")

    assert snap_compare(app, terminal_size=(40, 16), run_before=prepared(app, steps))


async def with_chats(pilot: Pilot[Any]) -> None:
    """Two chats, the second of them open."""
    await ready(pilot)
    await say(pilot, "How do I list files?")
    await pilot.press("ctrl+n")
    await say(pilot, "\u05d0\u05d9\u05da \u05de\u05d5\u05e0\u05d9\u05dd \u05e7\u05d1\u05e6\u05d9\u05dd?")
    chats = app_of(pilot).chat.chat_list.chats
    if chats is not None:
        await until(pilot, lambda: "How do I" in listed(pilot))


@pytest.mark.parametrize("theme", ["edgechat-dark", "edgechat-light", "edgechat-contrast"])
def test_beside_the_chats(snap_compare: Snapshot, make_app: MakeApp, theme: str) -> None:
    app = make_app(ScriptedEngine([REPLY], delay=0.001))
    app.theme = theme
    assert snap_compare(app, terminal_size=(140, 40), run_before=prepared(app, with_chats))


@pytest.mark.parametrize("size", [(80, 24), (40, 12)], ids=["80x24", "40x12"])
def test_chats_over_the_conversation(snap_compare: Snapshot, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(ScriptedEngine([REPLY], delay=0.001))

    async def steps(pilot: Pilot[Any]) -> None:
        await with_chats(pilot)
        await pilot.press("ctrl+b")
        await until(pilot, lambda: "How do I" in listed(pilot))

    assert snap_compare(app, terminal_size=size, run_before=prepared(app, steps))


@pytest.mark.parametrize("size", [(100, 30), (40, 12)], ids=["100x30", "40x12"])
def test_reading(snap_compare: Snapshot, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(ScriptedEngine(["Paris."]))

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        for question in ("What is the capital of France?", "Are you sure?"):
            await say(pilot, question)
        await pilot.press("escape", "k", "+")
        await until(pilot, lambda: "liked" in screen_text(pilot))

    assert snap_compare(app, terminal_size=size, run_before=prepared(app, steps))


def test_commands_are_offered(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app()

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("/", "e")
        await until(pilot, lambda: "/export" in screen_text(pilot))

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, steps))


def test_the_prompt(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["Paris."]))

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await say(pilot, "What is the capital of France?")
        await pilot.press("escape", "p")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, steps))


def test_in_hebrew(snap_compare: Snapshot, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_BIDI", "app")
    catalog.use("he")
    try:
        app = make_app(ScriptedEngine([REPLY], delay=0.001))
        assert snap_compare(app, terminal_size=(120, 36), run_before=prepared(app, with_chats))
    finally:
        catalog.use("en")


def test_without_colour(snap_compare: Snapshot, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(ScriptedEngine([REPLY], delay=0.001))
    assert snap_compare(app, terminal_size=(120, 36), run_before=prepared(app, with_chats))


def test_in_sixteen_colours(snap_compare: Snapshot, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM")
    app = make_app(ScriptedEngine([REPLY], delay=0.001))
    assert snap_compare(app, terminal_size=(120, 36), run_before=prepared(app, with_chats))
