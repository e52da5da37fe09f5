"""Copying: what the interface says came of it is what came of it, and nothing that is pasted is obeyed."""

from __future__ import annotations

import pytest

from edgechat.engine.scripted import ScriptedEngine
from edgechat.tui.terminal.driver import TerminalDriver
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, say, screen_text, until

IN_THE_CLIPBOARD = "is in the clipboard"


@pytest.fixture
def no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def copied(_text: str) -> bool:
        return False

    monkeypatch.setattr("edgechat.runtime.clipboard.copy", copied)


@pytest.mark.parametrize("key", ["y", "c"])
async def test_what_arrived_is_told(make_app: MakeApp, key: str) -> None:
    async with make_app(ScriptedEngine(["x\n```\nls\n```\n"])).run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        await pilot.press("escape", key)
        await until(pilot, lambda: IN_THE_CLIPBOARD in screen_text(pilot))


@pytest.mark.parametrize("key", ["y", "c"])
@pytest.mark.usefixtures("no_clipboard")
async def test_what_may_not_have_arrived_is_told(make_app: MakeApp, key: str) -> None:
    async with make_app(ScriptedEngine(["x\n```\nls\n```\n"])).run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        await pilot.press("escape", key)
        await until(pilot, lambda: "/export" in screen_text(pilot))
        assert "sent to the terminal" in " ".join(screen_text(pilot).split())
        assert IN_THE_CLIPBOARD not in screen_text(pilot)


@pytest.mark.usefixtures("no_clipboard")
async def test_a_console_has_no_clipboard(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_app(ScriptedEngine(["x"])).run_test(size=(80, 24), notifications=True) as pilot:
        monkeypatch.setenv("TERM", "linux")
        await ready(pilot)
        await say(pilot, "a")
        await pilot.press("escape", "y")
        await until(pilot, lambda: "Nothing was copied" in screen_text(pilot))


@pytest.mark.usefixtures("no_clipboard")
async def test_the_log_and_the_doctor_say_where_else_it_is(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(100, 40), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("f12", "c")
        await until(pilot, lambda: "It is the file" in " ".join(screen_text(pilot).split()))


async def test_what_a_shell_would_obey_is_copied_as_it_is_seen(make_app: MakeApp, clipboard: list[str]) -> None:
    text = "```\nls\x1b[201~\x9b2J \u202e\n\n\n```\n"
    async with make_app(ScriptedEngine([text])).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        await pilot.press("escape", "c")
        await until(pilot, lambda: bool(clipboard))
    assert clipboard == ["ls␛[201~\ufffd2J \ufffd"]


def test_only_one_way_sets_the_terminals_clipboard() -> None:
    class Written(list[str]):
        write = list.append

    driver = TerminalDriver.__new__(TerminalDriver)
    written = Written()
    driver._writer = written  # type: ignore[assignment]
    driver.write("\x1b]52;c;YQ==\x07\x1b[1mb\x1b[0m")
    driver.set_clipboard("a")
    assert written == ["␛]52;c;YQ==␇\x1b[1mb\x1b[0m", "\x1b]52;c;YQ==\x07"]
