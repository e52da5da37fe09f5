"""Models, the log, the doctor, and what happens on a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import ModelError
from edgechat.history.store import HistoryStore
from edgechat.runtime import logs, paths
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.dialogs.doctor import DoctorScreen
from edgechat.tui.dialogs.log import LogScreen
from edgechat.tui.dialogs.models import ModelsScreen
from edgechat.tui.widgets.notices import ErrorCard
from edgechat.tui.widgets.status import Activity
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, chat_text, ready, say, screen_text, send, until, write

SECRET = "xyzzy-my-secret"


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    logs.start("debug")
    yield
    logs.stop()


@pytest.fixture
def models(own_home: Path) -> Path:
    """Two models that can be opened, and one that cannot."""
    folder = own_home / "data" / "models"
    for name in ("alpha", "beta"):
        genai = folder / name
        genai.mkdir(parents=True)
        model = {"type": "phi3", "context_length": 4096, "decoder": {"filename": "model.onnx"}}
        (genai / "genai_config.json").write_text(json.dumps({"model": model}))
        (genai / "model.onnx").write_bytes(b"graph" * 1000)
        (genai / "tokenizer.json").write_text("{}")
    (folder / "gone").mkdir()
    return folder


class Switching:
    """Makes the app, and the engines of the models that are chosen."""

    def __init__(self, history: Path) -> None:
        self.history = history
        self.asked: list[str | None] = []
        self.delay = 0.0
        self.failure: ModelError | None = None

    def app(self) -> EdgechatApp:
        session = Session(ScriptedEngine(), HistoryStore.open(self.history), engine_of=self.engine, model_uri="first")
        return EdgechatApp(session)

    def engine(self, uri: str | None) -> ScriptedEngine:
        self.asked.append(uri)
        if uri == "first":
            return ScriptedEngine()
        return ScriptedEngine([f"this is {uri}"], load_delay=self.delay, fail_start=self.failure)


@pytest.fixture
def switching(history: Path, models: Path) -> Switching:
    return Switching(history)


def card(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen.query_one("#model-card", Static).render())


async def open_models(pilot: Pilot[None]) -> ModelsScreen:
    await pilot.press("f10")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen) and "Looking" not in card(pilot))
    screen = pilot.app.screen
    assert isinstance(screen, ModelsScreen)
    return screen


async def test_the_picker_shows_each_model_with_its_card(switching: Switching) -> None:
    async with switching.app().run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await open_models(pilot)
        await until(pilot, lambda: "phi3" in card(pilot))
        assert "alpha" in card(pilot)
        assert "4,096 tokens" in card(pilot)
        assert "no manifest" in card(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "beta" in card(pilot))
        await pilot.press("down")
        await until(pilot, lambda: "Not a model folder" in card(pilot))
        await pilot.press("enter")  # it cannot be chosen
        assert isinstance(pilot.app.screen, ModelsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ModelsScreen))
        assert switching.asked == []


async def test_the_chat_goes_on_with_the_model_that_is_chosen(switching: Switching) -> None:
    app = switching.app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await write(pilot, "a draft")
        await open_models(pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: switching.asked == ["beta"] and activity(pilot) is Activity.READY)
        assert app.chat.composer.text == "a draft"
        assert "hello" in chat_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "this is beta" in chat_text(pilot))
        assert [turn.user for turn in app.session.conversation.turns] == ["hello", "a draft"]


async def test_a_path_is_typed(switching: Switching, models: Path) -> None:
    async with switching.app().run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        screen = await open_models(pilot)
        screen.path.insert_text_at_cursor(str(models / "nowhere"))
        await until(pilot, lambda: "nowhere" in card(pilot))
        assert "alpha" not in card(pilot)
        screen.path.clear()
        screen.path.insert_text_at_cursor(str(models / "alpha"))
        await until(pilot, lambda: "4,096 tokens" in card(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: switching.asked == [str(models / "alpha")])


async def test_every_byte_is_read_on_demand(switching: Switching, models: Path) -> None:
    from edgechat.models.manifest import write_manifest

    write_manifest(models / "alpha")
    raw = bytearray((models / "alpha" / "model.onnx").read_bytes())
    raw[7] ^= 1
    (models / "alpha" / "model.onnx").write_bytes(raw)
    async with switching.app().run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await open_models(pilot)
        await until(pilot, lambda: "right sizes" in card(pilot))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "model.onnx: changed" in card(pilot))


async def test_esc_goes_back_to_the_model_before(switching: Switching) -> None:
    switching.delay = 30
    app = switching.app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        app.chat.switch_model("beta")
        await until(pilot, lambda: switching.asked == ["beta"] and activity(pilot) is Activity.LOADING)
        assert "Esc goes back" in screen_text(pilot)
        await send(pilot, "too early")
        await until(pilot, lambda: "another model is being loaded" in screen_text(pilot))
        assert app.chat.composer.text == "too early"
        await pilot.press("escape")
        await until(pilot, lambda: switching.asked == ["beta", "first"] and activity(pilot) is Activity.READY)
        assert app.session.models.uri == "first"
        assert "Esc goes back" not in screen_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "too early" in chat_text(pilot) and not app.chat.sending)
        assert len(app.session.conversation.turns) == 2


async def test_a_model_that_cannot_be_loaded_is_a_card_and_the_one_before_comes_back(switching: Switching) -> None:
    switching.failure = ModelError("It is broken", "By a test.", "Mend it.")
    app = switching.app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        app.chat.switch_model("beta")
        await until(pilot, lambda: switching.asked == ["beta", "first"] and activity(pilot) is Activity.READY)
        for words in ("It is broken", "By a test.", "Mend it.", "Models (F10)"):
            assert words in chat_text(pilot)
        await say(pilot, "hello")
        assert "You said" in chat_text(pilot)


async def test_a_model_that_is_not_there_ends_nothing(switching: Switching) -> None:
    app = switching.app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await send(pilot, "/model nonsense")
        await until(pilot, lambda: bool(app.query(ErrorCard)))
        assert switching.asked == []
        assert app.session.info is not None


async def test_the_slash_command_switches(switching: Switching) -> None:
    app = switching.app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await send(pilot, "/model beta")
        await until(pilot, lambda: switching.asked == ["beta"] and activity(pilot) is Activity.READY)
        await send(pilot, "/model")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))


async def test_an_action_of_a_card(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(fail_start=ModelError("It is broken", "By a test.", "Mend it.")))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(app.query(ErrorCard)))
        await pilot.click(ErrorCard, offset=(4, 3))
        await ready(pilot)
        assert not app.query(ErrorCard)


async def test_the_log_is_shown_by_level_and_copied(make_app: MakeApp, clipboard: list[str]) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        logs.log.info("something happened [bold]\x1b[31m")
        logs.log.error("something broke")
        await pilot.press("f12")
        await until(pilot, lambda: "something broke" in screen_text(pilot))
        assert "something happened [bold]" in screen_text(pilot)
        assert "\x1b" not in screen_text(pilot)
        assert "edgechat-home" in screen_text(pilot)
        assert "all levels" in screen_text(pilot)
        await pilot.press("l", "l")
        await until(pilot, lambda: "something happened" not in screen_text(pilot))
        assert "something broke" in screen_text(pilot)
        await pilot.press("c")
        await until(pilot, lambda: bool(clipboard))
        assert "something broke" in clipboard[0]
        paths.log_path("worker").write_text("a native crash")
        await pilot.press("w")
        await until(pilot, lambda: "something broke" not in screen_text(pilot))
        await pilot.press("l", "l", "w")
        await until(pilot, lambda: "something broke" in screen_text(pilot))
        logs.log.error("and again")
        await until(pilot, lambda: "and again" in screen_text(pilot))
        await pilot.press("f12")
        assert not isinstance(app.screen, LogScreen)


async def test_the_doctor_is_shown_and_copied(make_app: MakeApp, clipboard: list[str]) -> None:
    app = make_app()
    async with app.run_test(size=(100, 50)) as pilot:
        await ready(pilot)
        await send(pilot, "/doctor")
        await until(pilot, lambda: isinstance(app.screen, DoctorScreen) and "edgechat 0." in screen_text(pilot))
        await pilot.press("c")
        await until(pilot, lambda: bool(clipboard))
        assert "Version: edgechat" in clipboard[0]
        await pilot.press("escape")
        assert app.screen is app.chat


async def test_nothing_of_a_chat_is_logged(make_app: MakeApp, own_home: Path) -> None:
    app = make_app(ScriptedEngine([f"{SECRET} back {SECRET}"], fail_after=1))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, SECRET, Activity.ERROR)
        await say(pilot, SECRET)
        await send(pilot, f"/{SECRET} {SECRET}")
        await until(pilot, lambda: "There is no command" in chat_text(pilot))
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
    assert "a reply ended" in logs.path().read_text()
    for path in logs.path().parent.rglob("*"):
        assert SECRET not in path.read_text("utf-8", "replace")


async def test_a_worker_that_fails_is_a_card_and_the_chat_lives_on(make_app: MakeApp) -> None:
    app = make_app()

    async def broken() -> None:
        raise RuntimeError(SECRET)

    with pytest.raises(Exception, match=SECRET):  # so that no test passes over one
        async with app.run_test(size=(100, 30)) as pilot:
            await ready(pilot)
            app.run_worker(broken())
            await until(pilot, lambda: "Something went wrong in edgechat itself" in chat_text(pilot))
            assert SECRET not in chat_text(pilot)
            await say(pilot, "hello")
            assert "You said" in chat_text(pilot)
    assert app.faults.fatal is None
    assert "RuntimeError" in logs.path().read_text()
    assert SECRET not in logs.path().read_text()


async def test_a_reply_that_fails_unforeseen_comes_to_its_end(make_app: MakeApp) -> None:
    def broken(_request: object) -> str:
        raise RuntimeError(SECRET)

    app = make_app(ScriptedEngine(broken))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "hello", Activity.ERROR)
        assert "Something went wrong in edgechat itself" in chat_text(pilot)
        assert app.chat.composer.accepting
    assert SECRET not in logs.path().read_text()


async def test_a_fault_of_the_screen_ends_the_app_without_a_traceback(
    make_app: MakeApp, history: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()

    def broken() -> None:
        raise RuntimeError(SECRET)

    with pytest.raises(RuntimeError, match=SECRET):
        async with app.run_test(size=(100, 30)) as pilot:
            await ready(pilot)
            await say(pilot, "hello")
            app.chat.call_later(broken)
            await until(pilot, lambda: app.faults.fatal is not None)
    assert app.faults.fatal is not None
    assert str(logs.path()) in app.faults.fatal.hint
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    store = HistoryStore.open(history)
    latest = store.latest()
    store.close()
    assert latest is not None
    assert [turn.user for turn in latest.turns] == ["hello"]
