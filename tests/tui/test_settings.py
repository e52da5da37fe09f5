"""The settings screen: every value by hand, where it comes from, what is refused, what is written and obeyed."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from edgechat.engine.protocol import Sampling
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import StorageError
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from edgechat.session.session import Session
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import config_path, load_settings
from edgechat.settings.schema import Config
from edgechat.tui.app import EdgechatApp
from edgechat.tui.dialogs.confirm_reload import ReloadScreen
from edgechat.tui.dialogs.settings import SettingsScreen
from edgechat.tui.widgets.cycle_select import Choice
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, screen_text, until

SIZE = (100, 60)


def screen(pilot: Pilot[Any]) -> SettingsScreen:
    assert isinstance(pilot.app.screen, SettingsScreen)
    return pilot.app.screen


async def opened(pilot: Pilot[Any]) -> SettingsScreen:
    await ready(pilot)
    await pilot.press("ctrl+s")
    await until(pilot, lambda: isinstance(pilot.app.screen, SettingsScreen) and pilot.app.screen.focused is not None)
    return screen(pilot)


async def put(pilot: Pilot[Any], key: str, text: str) -> None:
    """Type a value into its field."""
    field = screen(pilot).query_one(f"#set-{key}", Input)
    field.focus()
    field.value = ""
    await pilot.pause()
    await pilot.press(*text)
    await pilot.pause()


async def save(pilot: Pilot[Any]) -> None:
    await pilot.press("ctrl+s")
    await until(pilot, lambda: not isinstance(pilot.app.screen, SettingsScreen))


def in_sight(shown: SettingsScreen) -> bool:
    """Whether what has the focus can be seen."""
    focused = shown.focused
    body = shown.query_one("#card-body").region
    return focused is not None and focused.region.height == 1 and body.contains_region(focused.region)


def told(pilot: Pilot[Any]) -> str:
    return " ".join(notice.message for notice in pilot.app._notifications)


async def test_every_setting_has_a_line_that_tells_where_it_comes_from(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECHAT_TOP_P", "0.5")
    config_path().parent.mkdir(parents=True)
    config_path().write_text("seed = 9\n")
    async with make_app(settings=load_settings(temperature=1.0)).run_test(size=SIZE) as pilot:
        await opened(pilot)
        text = screen_text(pilot)
        for key in Config.__struct_fields__:
            assert WORDS[key].title in text
        for title, value, source in (
            ("Temperature", "1.0", "flag"),
            ("Top p", "0.5", "environment"),
            ("Seed", "9", "your file"),
            ("Top k", "50", "default"),
        ):
            line = next(line for line in text.splitlines() if f" {title} " in line)
            assert value in line
            assert source in line


async def test_what_is_saved_is_written_and_obeyed_by_the_next_reply(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["Well."])
    async with make_app(engine).run_test(size=SIZE) as pilot:
        await opened(pilot)
        for key, text in (("temperature", "0.7"), ("top_k", "40"), ("max_tokens", "99"), ("threads", "3")):
            await put(pilot, key, text)
        await put(pilot, "system", "Be brief.")
        await save(pilot)
        assert tomllib.loads(config_path().read_text()) == {
            "temperature": 0.7, "top_k": 40, "max_tokens": 99, "threads": 3, "system": "Be brief.", "keys": {},
        }  # fmt: skip
        assert "takes effect when the model is loaded" in screen_text(pilot)
        await pilot.press("escape")
        await say(pilot, "Hello")
        request = engine.requests[-1]
        assert request.sampling == Sampling(temperature=0.7, top_k=40)
        assert request.max_tokens == 99
        assert request.messages[0].content == "Be brief."


async def test_the_model_is_loaded_again_where_that_is_wanted(history: Path) -> None:
    engines: list[ScriptedEngine] = []

    def engine_of(uri: str | None) -> ScriptedEngine:
        engines.append(ScriptedEngine(["Well."]))
        return engines[-1]

    session = Session(engine_of(None), HistoryStore.open(history), engine_of=engine_of)
    app = EdgechatApp(session)
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await put(pilot, "threads", "2")
        await save(pilot)
        await until(pilot, lambda: isinstance(app.screen, ReloadScreen))
        await pilot.press("enter")
        await until(pilot, lambda: len(engines) == 2 and session.info is not None)
        await ready(pilot)
        await say(pilot, "Hello")
        assert len(engines[1].requests) == 1


async def test_a_value_is_checked_as_it_is_typed_and_not_saved(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await opened(pilot)
        await put(pilot, "temperature", "9")
        assert "temperature is to be a number from 0 to 2" in screen_text(pilot)
        await pilot.press("tab", "ctrl+s")
        await pilot.pause()
        assert screen(pilot).focused is screen(pilot).query_one("#set-temperature")
        assert not config_path().exists()
        await pilot.press("backspace", "1")
        await pilot.pause()
        assert "is to be" not in screen_text(pilot)
        await save(pilot)
        assert tomllib.loads(config_path().read_text())["temperature"] == 1


async def test_an_emptied_field_is_the_default_again(make_app: MakeApp) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("seed = 9 # lucky\n")
    async with make_app(settings=load_settings()).run_test(size=SIZE) as pilot:
        await opened(pilot)
        screen(pilot).query_one("#set-seed").focus()
        await pilot.press("ctrl+d")
        await save(pilot)
    assert config_path().read_text() == "# seed = 9 # lucky\n"


async def test_choices_go_by_the_arrows(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await opened(pilot)
        screen(pilot).query_one("#set-context_policy").focus()
        await pilot.press("right")
        screen(pilot).query_one("#set-spinning").focus()
        await pilot.press("space")
        screen(pilot).query_one("#set-persona", Choice).focus()
        await pilot.press("left", "right", "right")
        await save(pilot)
        written = tomllib.loads(config_path().read_text())
        assert (written["context_policy"], written["spinning"]) == ("oldest", False)
        assert app_of(pilot).session.context.policy == "oldest"
        assert written["persona"] == "checklist"
        assert "SAFETY" in app_of(pilot).session.conversation.system


async def test_the_theme_is_shown_at_once_and_taken_back(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await opened(pilot)
        before = pilot.app.theme
        screen(pilot).query_one("#set-theme").focus()
        await pilot.press("right")
        await pilot.pause()
        assert pilot.app.theme == "edgechat-contrast"
        await pilot.press("escape")
        await pilot.pause()
        assert "Esc again" in told(pilot), "a change is not dropped at once"
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, SettingsScreen))
        assert pilot.app.theme == before
        assert not config_path().exists()


async def test_one_chat_has_settings_of_its_own(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["Well."])
    async with make_app(engine).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("right")
        await until(pilot, lambda: not screen(pilot).query("#set-threads"))
        await put(pilot, "temperature", "1.5")
        await put(pilot, "system", "Rhyme.")
        await save(pilot)
        assert not config_path().exists()
        await say(pilot, "Hello")
        assert engine.requests[-1].sampling.temperature == 1.5
        assert engine.requests[-1].messages[0].content == "Rhyme."
        await opened(pilot)
        await pilot.press("right")
        await until(pilot, lambda: not screen(pilot).query("#set-threads"))
        assert screen(pilot).query_one("#set-temperature", Input).value == "1.5"
        await put(pilot, "temperature", "")
        await save(pilot)
        assert app_of(pilot).session.conversation.settings.temperature is None
        await pilot.press("ctrl+n")
        await say(pilot, "Hello again")
        assert engine.requests[-1].sampling == Sampling()


async def test_what_the_device_locks_cannot_be_changed(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "edgechat"))
    monkeypatch.setattr(paths, "resource", lambda name: Path(paths.__file__).parent / name)
    (tmp_path / "edgechat.toml").write_text('system = "Be kind."\nlocked = ["system", "temperature"]\n')
    async with make_app(settings=load_settings()).run_test(size=SIZE) as pilot:
        await opened(pilot)
        for key in ("system", "temperature", "persona"):
            assert screen(pilot).query_one(f"#set-{key}").disabled
        assert not screen(pilot).query_one("#set-seed").disabled
        assert screen_text(pilot).count("# locked") == 3
        await pilot.press("right")
        await until(pilot, lambda: not screen(pilot).query("#set-threads"))
        assert screen(pilot).query_one("#set-system").disabled, "nor for one chat"


async def test_a_full_disk_is_told_and_nothing_typed_is_lost(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(changes: dict[str, Any]) -> Path:
        raise StorageError("Settings cannot be saved", "No space left on device.", "Free some space.")

    monkeypatch.setattr("edgechat.settings.writer.save", full)
    async with make_app().run_test(size=SIZE) as pilot:
        await opened(pilot)
        await put(pilot, "seed", "5")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "No space left" in told(pilot))
        assert screen(pilot).query_one("#set-seed", Input).value == "5"
        assert app_of(pilot).session.prompts.sampling.seed is None


async def test_a_variable_that_still_goes_before_is_told(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_SEED", "1")
    async with make_app(settings=load_settings()).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await put(pilot, "seed", "5")
        assert "EDGECHAT_SEED" in screen_text(pilot)
        await save(pilot)
        assert "still goes before: seed" in told(pilot)
        assert app_of(pilot).session.prompts.sampling.seed == 1


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (300, 100)])
async def test_it_can_be_used_at_any_size(make_app: MakeApp, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        await opened(pilot)
        for _ in range(len(WORDS) + 2):
            await pilot.press("down")
            await until(pilot, lambda: in_sight(screen(pilot)))
            assert "Ctrl+S saves" in screen_text(pilot)
            assert "Esc closes" in screen_text(pilot)


async def test_what_was_typed_last_is_saved_however_fast_one_saves(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        shown = await opened(pilot)
        field = shown.query_one("#set-temperature", Input)
        field.focus()
        field.value = "0.1"
        shown.action_save()  # as a key that comes before the message of the change
        await until(pilot, lambda: not isinstance(pilot.app.screen, SettingsScreen))
    assert tomllib.loads(config_path().read_text("utf-8"))["temperature"] == 0.1


async def test_what_is_laid_out_anew_may_be_interrupted(make_app: MakeApp) -> None:
    """A worker that is cancelled while it takes parts away neither ends them nor the app that waits for them too."""
    async with make_app(ScriptedEngine()).run_test(size=SIZE) as pilot:
        await opened(pilot)
        choice = screen(pilot).query_one("#scope", Choice)
        for _ in range(20):  # as fast as keys that come in one piece
            choice.action_step(1)
            for _ in range(7):
                await asyncio.sleep(0)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is app_of(pilot).chat)
        assert pilot.app._running
        await say(pilot, "still here")


async def test_leaving_while_the_fields_are_laid_out_anew_takes_none_of_the_old_ones(make_app: MakeApp) -> None:
    """The fields are those of all chats for a moment after this chat was chosen; most settings no chat has."""
    async with make_app(ScriptedEngine()).run_test(size=SIZE) as pilot:
        shown = await opened(pilot)
        model, scope = shown.query_one("#set-model_uri", Input), shown.query_one("#scope", Choice)
        model.value = "x"  # as a key that comes before the message of the change
        scope.index = 1
        shown._chosen(Choice.Changed(scope))
        shown._typed(Input.Changed(model, "y"))
        shown._chosen(Choice.Changed(shown.query_one("#set-theme", Choice)))
        shown.action_close()
        assert shown._warned, "what was typed before is not lost"
        assert shown._draft.edits == {}
        await until(pilot, lambda: not shown.query("#set-model_uri") and bool(shown.query("#set-system")))
        await put(pilot, "system", "short")
        assert shown._draft.edits == {"system": "short"}
