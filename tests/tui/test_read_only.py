"""What comes into view: the first start, an empty chat, and a chat of a model that is not here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from edgechat.chat.conversation import ReplyState
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.session.factory import engine_for
from edgechat.session.session import Session
from edgechat.settings.schema import Config
from edgechat.tui.app import EdgechatApp
from edgechat.tui.chat.read_only import ForReading
from edgechat.tui.widgets.status import Activity
from edgechat.tui.widgets.turn_view import TurnView
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, app_of, chat_text, ready, say, screen_text, until, write


def held_with(path: Path, model: str) -> int:
    """A chat of one turn, held with that model."""
    store = HistoryStore.open(path)
    chat = store.create_conversation(model=model)
    reply = store.add_reply(store.add_turn(chat.id, None, "an old question").id, model)
    store.close_reply(reply.id, ReplyState.COMPLETE, text="an old answer")
    store.close()
    return chat.id


def opened(path: Path, chat: int, engine: ScriptedEngine) -> EdgechatApp:
    store = HistoryStore.open(path)
    return EdgechatApp(Session(engine, store, conversation=store.conversation(chat)))


def card(pilot: Pilot[Any]) -> str:
    return "\n".join(str(found.render()) for found in app_of(pilot).chat.query(ForReading))


@pytest.mark.model
async def test_the_first_start_names_the_model(home_with_model: Path, history: Path) -> None:
    session = Session(engine_for(Config()), HistoryStore.open(history))
    app = EdgechatApp(session)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "apache-2.0" in screen_text(pilot), 60)
        await until(pilot, lambda: activity(pilot) is Activity.READY, 120)
        await until(pilot, lambda: "8,192 tokens" in screen_text(pilot))
        shown = screen_text(pilot)
        for words in ("Offline", "smollm2-135m-instruct", " MB", "apache-2.0", "8,192", "Licence", "Ctrl+O"):
            assert words in shown
        await say(pilot, "Hello!")
        assert app.query_one(TurnView).reply_text
        await pilot.press("escape", "y", "escape", "ctrl+n")
        await until(pilot, lambda: "apache-2.0" in screen_text(pilot))
        assert "Licence" not in screen_text(pilot)  # no longer the first start: the facts are on one line


async def test_a_chat_of_an_unknown_model_is_open_for_reading(history: Path) -> None:
    engine = ScriptedEngine(["a new answer"])
    app = opened(history, held_with(history, "phi-9-[giant]"), engine)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "phi-9-[giant]" in card(pilot))
        assert "F7 goes on with scripted" in card(pilot)
        assert "an old answer" in chat_text(pilot)
        await write(pilot, "a draft")
        await pilot.press("enter")
        await until(pilot, lambda: "open for reading; F7" in screen_text(pilot))
        assert app.chat.composer.text == "a draft"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "goes on with it" in screen_text(pilot))
        assert not engine.requests
        await pilot.press("f7")
        await until(pilot, lambda: not card(pilot))
        assert app.chat.composer.text == "a draft"
        await pilot.press("enter")
        await until(pilot, lambda: not app.chat.sending and "a new answer" in chat_text(pilot))
        assert "was held with phi-9-[giant]" in chat_text(pilot)


async def test_it_stays_so_until_one_goes_on(make_app: MakeApp, history: Path) -> None:
    chat = held_with(history, "elsewhere")
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot)
        await app.session.open(chat)
        await app.chat.redraw()
        await until(pilot, lambda: "elsewhere" in card(pilot))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: not card(pilot))
        await say(pilot, "here it goes")
        await app.session.open(chat)
        await app.chat.redraw()
        await until(pilot, lambda: "elsewhere" in card(pilot))


async def test_a_chat_of_an_installed_model_goes_on(home_with_model: Path, history: Path) -> None:
    app = opened(history, held_with(history, "smollm2-135m-instruct"), ScriptedEngine(["a new answer"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "and now?")
        assert "scripted goes on with it" in chat_text(pilot)
        assert not card(pilot)


async def test_a_model_that_was_removed_is_unknown(home_with_model: Path, history: Path) -> None:
    chat = held_with(history, "renamed")
    models = home_with_model / "data" / "models"
    shutil.copytree(models / "smollm2-135m-instruct", models / "renamed", copy_function=os.link)
    for there in (True, False):
        app = opened(history, chat, ScriptedEngine(["x"]))
        async with app.run_test(size=(80, 24)) as pilot:
            await ready(pilot)
            await until(pilot, lambda there=there: bool(card(pilot)) is not there)  # type: ignore[misc]
        shutil.rmtree(models / "renamed", ignore_errors=True)
