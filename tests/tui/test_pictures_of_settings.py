"""Pictures of the settings and of the help, in several themes and sizes."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from edgechat.settings.loader import Settings
from edgechat.settings.schema import Config
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, until
from tests.tui.test_pictures import Snapshot, prepared

SET = Settings(
    Config(temperature=0.7, seed=42, system="Answer in short sentences.", keys={"chat.new": "alt+n"}),
    {"temperature": "flag", "seed": "environment", "system": "file", "keys": "file"},
)


@pytest.mark.parametrize("theme", ["edgechat-dark", "edgechat-light", "edgechat-contrast"])
def test_settings(snap_compare: Snapshot, make_app: MakeApp, theme: str) -> None:
    app = make_app(settings=SET)
    app.theme = theme

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(pilot.app.screen.query("#set-top_p")))
        field = pilot.app.screen.query_one("#set-top_p", Input)
        field.cursor_blink = False
        field.focus()
        await pilot.press("7")
        await until(pilot, lambda: bool(pilot.app.screen.query(".-wrong")))

    assert snap_compare(app, terminal_size=(100, 44), run_before=prepared(app, steps))


@pytest.mark.parametrize("size", [(80, 24), (40, 12)], ids=["80x24", "40x12"])
@pytest.mark.parametrize("theme", ["edgechat-dark", "edgechat-light"])
def test_help(snap_compare: Snapshot, make_app: MakeApp, theme: str, size: tuple[int, int]) -> None:
    app = make_app(settings=SET)
    app.theme = theme

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("f1")
        await until(pilot, lambda: bool(pilot.app.screen.query("Pairs")))

    assert snap_compare(app, terminal_size=size, run_before=prepared(app, steps))


def test_personas(snap_compare: Snapshot, make_app: MakeApp) -> None:
    app = make_app()

    async def steps(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        app.action_personas()
        await until(pilot, lambda: bool(pilot.app.screen.query("#card-body OptionList")))
        for words in pilot.app.screen.query("#card-body > Static"):
            words.display = False  # the folder of this test

    assert snap_compare(app, terminal_size=(80, 24), run_before=prepared(app, steps))
