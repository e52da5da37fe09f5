"""Pictures of the screen. They hold no clock, no cursor that blinks, and no measured speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError, ModelError
from edgechat.tui.app import EdgechatApp
from edgechat.tui.widgets.cards import ErrorCard
from edgechat.tui.widgets.status import Activity, StatusLine
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, app_of, ready, say, until, write

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


def test_help(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app()

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("f1")
        assert activity(pilot) is Activity.READY

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, steps))
