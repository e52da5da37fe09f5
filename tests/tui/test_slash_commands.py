"""Slash commands in the terminal interface: the list above the composer, and what each command does."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.settings.personas import find
from edgechat.slash import commands as table
from edgechat.tui.chat.slash_commands import ACTIONS
from edgechat.tui.dialogs.prompt import PromptScreen
from edgechat.tui.dialogs.text import AnswerScreen
from edgechat.tui.widgets.notices import ErrorCard
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ask, chat_text, ready, say, screen_text, told, until, write


async def command(pilot: Pilot[None], line: str) -> None:
    """Write a command and send it, whatever is offered."""
    await write(pilot, line)
    if app_of(pilot).chat.suggestions.choices:
        await pilot.press("escape")  # elsewhere it would stop a reply
    await pilot.press("enter")
    await pilot.pause()


def words(pilot: Pilot[None]) -> list[str]:
    return [choice.words for choice in app_of(pilot).chat.suggestions.choices]


# The list


async def test_commands_are_offered_and_taken(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("/")
        assert len(words(pilot)) == len(table.COMMANDS)
        assert "Show all commands" in screen_text(pilot)
        await pilot.press(*"re")
        assert words(pilot)[:2] == ["/read", "/regen"]
        await pilot.press("down", "up", "tab")
        assert app.chat.composer.text == "/read "
        await until(pilot, lambda: bool(words(pilot)))  # files
        await pilot.press("escape")
        assert not app.chat.suggestions.display


async def test_enter_obeys_what_is_marked_and_complete(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"/sta", "enter")
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        assert "0 messages" in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press(*"/help", "enter")  # what follows it may be left out
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))


async def test_keys_that_come_faster_than_the_list(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("one two three", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(40, 12)) as pilot:
        await ready(pilot)
        driver = app._driver
        assert driver is not None
        keys: list[tuple[str, str | None]] = [("slash", "/"), *((letter, letter) for letter in "read")]
        for key, character in [*keys, ("space", " "), ("n", "n"), ("tab", "\t"), ("enter", "\r")]:
            event = events.Key(key, character)
            event.set_sender(app)
            driver.send_message(event)
        await until(pilot, lambda: app.chat.composer.text == "[notes.txt, 6 tokens]\n")
        app.chat.composer.clear()
        await pilot.press("/")
        assert app.chat.status_line.region.bottom == 12


async def test_nothing_is_offered_for_messages(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        for text in ("//he", "hello /he", "/he\nlp"):
            await write(pilot, text)
            assert words(pilot) == []
            app.chat.composer.clear()


async def test_the_list_fits_into_a_narrow_terminal(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(40, 14)) as pilot:
        await ready(pilot)
        await pilot.press("/")
        await pilot.pause()
        assert app.chat.suggestions.region.right <= 40
        assert app.chat.status_line.region.bottom == 14
        assert "/help" in screen_text(pilot)


# Errors and messages


async def test_an_unknown_command_is_a_card_and_is_not_sent(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["ok"])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await command(pilot, "/rgen")
        await until(pilot, lambda: bool(app.query(ErrorCard)))
        assert "Did you mean /regen?" in chat_text(pilot)
        assert app.chat.composer.text == "/rgen"
        assert engine.requests == []


async def test_two_slashes_send_one(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["ok"])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "//regen is a command")
        assert engine.requests[-1].messages[-1].content == "/regen is a command"


async def test_a_literal_slash_survives_a_failed_send(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.chat.composer.restore("/not a command")
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.session.conversation.turns) and not app.chat.sending)
        assert app.session.conversation.turns[0].user == "/not a command"


# What they do


async def test_settings_and_system_message_of_a_chat(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["ok"])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await command(pilot, "/set temperature 0.7")
        await until(pilot, lambda: app.session.conversation.settings.temperature == 0.7)
        await command(pilot, "/system You are\na poet.")
        await until(pilot, lambda: app.session.conversation.system == "You are\na poet.")
        await say(pilot, "hello")
        assert engine.requests[-1].sampling.temperature == 0.7
        assert engine.requests[-1].messages[0].content == "You are\na poet."
        for wrong, why in (("/set temperature 3", "from 0 to 2"), ("/set colour red", "They are: temperature")):
            await command(pilot, wrong)
            await told(pilot, why)
            app.chat.composer.clear()
        assert app.session.conversation.settings.temperature == 0.7
        await command(pilot, "/set temperature default")
        await until(pilot, lambda: app.session.conversation.settings.temperature is None)
        await command(pilot, "/system -")
        await until(pilot, lambda: app.session.conversation.system == "")


async def test_regen_edit_versions_delete_and_undo(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["first", "second", "third"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await command(pilot, "/regen")
        await until(pilot, lambda: "second" in chat_text(pilot) and not app.chat.sending)
        await command(pilot, "/previous")
        await until(pilot, lambda: "first" in chat_text(pilot))
        await command(pilot, "/edit other words")
        await until(pilot, lambda: "third" in chat_text(pilot) and not app.chat.sending)
        assert app.session.conversation.turns[0].user == "other words"
        await command(pilot, "/delete")
        await until(pilot, lambda: "third" not in chat_text(pilot))
        await command(pilot, "/undo")
        await until(pilot, lambda: "third" in chat_text(pilot))


async def test_a_persona_feedback_and_the_shelf(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await command(pilot, "/pin")
        await told(pilot, "no message yet")
        app.chat.composer.clear()
        await say(pilot, "hello")
        await command(pilot, "/persona reviewer")
        await until(pilot, lambda: app.session.conversation.system == find("reviewer").text)
        await command(pilot, "/bad too short")
        await until(pilot, lambda: app.session.conversation.turns[0].replies[0].note == "too short")
        assert app.session.conversation.turns[0].replies[0].rating == -1
        await command(pilot, "/pin")
        await until(pilot, lambda: app.session.conversation.pinned)
        await command(pilot, "/archive")
        await until(pilot, lambda: app.session.conversation.archived)


async def test_a_reply_that_is_written_is_not_disturbed(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["word " * 2_000], delay=0.02))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await ask(pilot, "go")
        await command(pilot, "/edit something else")
        await until(pilot, lambda: "A reply is being written" in chat_text(pilot))
        app.chat.composer.clear()
        await command(pilot, "/stats")
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)


async def test_chats_are_searched_opened_renamed_and_forgotten(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "the lighthouse")
        await command(pilot, "/clear")
        await until(pilot, lambda: not app.session.conversation.turns)
        await say(pilot, "something else")
        await command(pilot, "/rename My chat")
        await until(pilot, lambda: app.session.conversation.title == "My chat")
        await command(pilot, "/search lighthouse")
        await until(
            pilot,
            lambda: app.chat.chat_list.chats is not None and app.chat.chat_list.chats.search.value == "lighthouse",
        )
        await pilot.press("escape", "escape")  # the words, then the list
        await until(pilot, lambda: app.focused is app.chat.composer)
        await command(pilot, "/open 1")
        await until(pilot, lambda: app.session.conversation.id == 1)
        await command(pilot, "/forget")
        await until(pilot, lambda: app.session.conversation.id == 0)
        await command(pilot, "/open 1")
        await until(pilot, lambda: bool(app.query(ErrorCard)))


async def test_a_chat_is_exported_and_no_file_is_replaced(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(ScriptedEngine(["the reply"]))
    out = tmp_path / "out chat.md"
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await command(pilot, f"/export {out}")
        await until(pilot, out.exists)
        await until(pilot, lambda: "the reply" in out.read_text("utf-8"))
        assert out.stat().st_mode & 0o077 == 0
        out.write_text("mine")
        await command(pilot, f"/export json {out}")
        await until(pilot, lambda: "there already" in chat_text(pilot))
        assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["chats", "prompt", "copy", "quit"])
async def test_commands_that_are_actions(make_app: MakeApp, name: str, clipboard: list[str]) -> None:
    app = make_app(ScriptedEngine(["the reply"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await command(pilot, f"/{name}")
        if name == "copy":
            await until(pilot, lambda: clipboard == ["the reply"])
        elif name == "quit":
            await until(pilot, lambda: not app.is_running or app._exit)
        elif name == "chats":
            await until(pilot, lambda: app.chat.sidebar.display and app.chat.sidebar.has_focus_within)
        else:
            await until(pilot, lambda: isinstance(app.screen, PromptScreen))


async def test_the_palette_has_every_command(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        for item in table.COMMANDS:
            assert item.name in ACTIONS or f"/{item.name}" in commands
        await write(pilot, "a draft")
        commands["/system"]()
        assert app.chat.composer.text == "/system "
        await pilot.press("escape", "up")
        assert app.chat.composer.text == "a draft"
        commands["/stats"]()
        await until(pilot, lambda: isinstance(app.screen, AnswerScreen))
        await until(pilot, lambda: "(scripted), 1 thread " in screen_text(pilot))
