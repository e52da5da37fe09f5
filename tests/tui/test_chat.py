"""Talking: sending, reading, stopping, beginning anew, leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input
from textual.widgets._text_area import TextArea

from edgechat.chat.conversation import ReplyState
from edgechat.engine.protocol import ModelInfo, Progress
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError, ModelError, StorageError
from edgechat.history.store import HistoryStore
from edgechat.tui.app import EdgechatApp
from edgechat.tui.dialogs.help import HelpScreen
from edgechat.tui.terminal.key_parser import SignKey
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.notices import ErrorCard, Mark
from edgechat.tui.widgets.reply_view import ReplyView
from edgechat.tui.widgets.sidebar import ChatList, Rows
from edgechat.tui.widgets.status import Activity
from edgechat.tui.widgets.turn_view import TurnView
from edgechat.tui.widgets.welcome import Welcome
from tests.tui.conftest import MakeApp
from tests.tui.helpers import HeldEngine, activity, app_of, chat_text, ready, say, screen_text, until, write

LONG = "word " * 4_000


async def test_the_empty_screen_teaches(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        shown = screen_text(pilot)
        for words in ("edgechat", "scripted", "4,096 tokens", "Enter", "Ctrl+J", "Esc", "Ctrl+N", "F1", "Ctrl+Q"):
            assert words in shown
        assert isinstance(pilot.app.focused, Composer)


async def test_enter_sends_and_the_reply_is_shown(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["A *short* reply."]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: not app.chat.sending)
        assert not app.query(Welcome)
        assert "A short reply." in screen_text(pilot)
        assert "hello" in screen_text(pilot)
        assert app.chat.composer.text == ""
        assert activity(pilot) is Activity.READY
        status = app.chat.status_line.status
        assert (status.model, status.context, status.used) == ("scripted", 4096, app.session.context_used)
        assert status.used > 0


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter"])
async def test_a_new_line_in_the_composer(make_app: MakeApp, key: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", key, "b")
        assert app.chat.composer.text == "a\nb"
        assert not app.chat.sending


async def test_keys_are_obeyed_in_the_order_they_were_pressed(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        driver = app._driver
        assert driver is not None
        for key, character in (("a", "a"), ("ctrl+j", "\n"), ("b", "b"), ("enter", "\r"), ("c", "c")):
            event = events.Key(key, character)
            event.set_sender(app)
            driver.send_message(event)
        await until(pilot, lambda: bool(app.query(TurnView)) and not app.chat.sending)
        assert app.session.conversation.turns[0].user == "a\nb"
        assert app.chat.composer.text == "c"


def press(app: EdgechatApp, keys: Iterable[events.Key]) -> None:
    """Keys that come in one piece."""
    assert app._driver is not None
    for key in keys:
        key.set_sender(app)
        app._driver.send_message(key)


async def test_letters_that_come_in_one_piece_are_written_with_few_changes(make_app: MakeApp) -> None:
    """Each change of a text costs what is in it: a terminal without bracketed paste would wait for the square of it."""
    app, text = make_app(), "word שלום 日本 " * 300
    changes: list[str] = []

    def see(message: Message) -> None:
        if isinstance(message, (TextArea.Changed, Input.Changed)) and message._sender is message.control:
            changes.append(type(message).__qualname__)

    async with app.run_test(size=(80, 24), message_hook=see) as pilot:
        await ready(pilot)
        press(app, [*(events.Key("a", letter) for letter in text), SignKey("b", "\u3000"), events.Key("enter", "\r")])
        await until(pilot, lambda: app.chat.sending or bool(app.query(TurnView)))
        assert app.session.conversation.turns[0].user == text + "\u3000"
        assert len(changes) < 50
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.focused, Input))
        changes.clear()
        press(app, (events.Key("a", letter) for letter in text))
        assert app.chat.chat_list.chats is not None
        search = app.chat.chat_list.chats.search
        await until(pilot, lambda: search.value == text)
        assert len(changes) < 50


async def test_letters_that_were_to_be_written_are_keys_for_whoever_has_the_focus_by_then(make_app: MakeApp) -> None:
    class Asks(ModalScreen[None]):
        pressed: ClassVar[list[str]] = []

        def on_key(self, event: events.Key) -> None:
            self.pressed.append(event.key)

    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        app.call_later(app.push_screen, Asks())  # takes its turn before the letters do
        press(app, (events.Key(letter, letter) for letter in "ynx"))
        await until(pilot, lambda: Asks.pressed == ["y", "n", "x"])
        assert app.chat.composer.text == ""


async def test_white_space_is_not_sent(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "ctrl+j", "enter")
        assert not app.chat.sending
        assert app.chat.composer.text == " \n"


async def test_the_composer_grows_to_a_third(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.chat.composer.size.height == 1
        await write(pilot, "a\nb\nc")
        assert app.chat.composer.size.height == 3
        await write(pilot, "\nx" * 40)
        assert app.chat.composer.outer_size.height == 8
        assert app.chat.status_line.region.bottom == 24


class SlowToLoad(ScriptedEngine):
    """Loads until it is let."""

    def __init__(self, replies: Sequence[str]) -> None:
        super().__init__(replies)
        self.loaded = asyncio.Event()

    async def start(self, on_progress: Callable[[Progress], None] | None = None) -> ModelInfo:
        if on_progress is not None:
            on_progress(Progress("load", 0, 0))
        await self.loaded.wait()
        return await super().start(on_progress)


async def test_sending_while_the_model_loads(make_app: MakeApp, history: Path) -> None:
    engine = SlowToLoad(["Late, but here."])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: activity(pilot) is Activity.LOADING)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: bool(app.query(TurnView)))
        assert app.session.info is None
        engine.loaded.set()
        assert app.session.conversation.turns[0].user == "hi"
        await until(pilot, lambda: not app.chat.sending)
        assert "Late, but here." in screen_text(pilot)


async def test_a_second_message_waits_in_the_composer(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([LONG], delay=0.01))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: activity(pilot) is Activity.WRITING)
        await pilot.press("b", "enter")
        assert app.chat.composer.text == "b"
        assert "Esc stops it" in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)
        assert app.chat.composer.text == "b"
        assert "Esc stops it" not in screen_text(pilot)
        assert len(app.session.conversation.turns) == 1


async def test_escape_stops_and_keeps_the_text(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine([LONG], delay=0.01))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: "word word" in chat_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: activity(pilot) is Activity.STOPPED)
        assert "stopped" in chat_text(pilot)
        assert "word word" in chat_text(pilot)
        reply = app.session.conversation.turns[0].reply
        assert reply is not None
        assert reply.state is ReplyState.STOPPED
        assert app.query_one(TurnView).reply_text == reply.text


async def test_escape_while_the_model_loads(make_app: MakeApp) -> None:
    engine = SlowToLoad(["never"])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "enter")
        await until(pilot, lambda: bool(app.query(TurnView)))
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)
        assert "stopped" in chat_text(pilot)
        engine.loaded.set()
        await until(pilot, lambda: app.session.info is not None)
        await say(pilot, "b")
        assert "never" in chat_text(pilot)


async def test_new_chat(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine(["one", "two"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: bool(app.query(Welcome)))
        assert not app.query(TurnView)
        assert "scripted" in chat_text(pilot)
        assert app.session.conversation.turns == ()
        await say(pilot, "second")
        assert len(app.query(TurnView)) == 1
        assert app.session.conversation.messages()[0].content == "second"
    assert len(_store(history).list_conversations()) == 2


async def test_new_chat_while_a_reply_is_written(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine([LONG], delay=0.01))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: activity(pilot) is Activity.WRITING)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: bool(app.query(Welcome)))
        assert not app.chat.sending
        assert activity(pilot) is Activity.READY
    assert _replies(history) == [ReplyState.STOPPED]


async def test_an_engine_error_keeps_the_text_and_tells_the_next_step(make_app: MakeApp) -> None:
    failure = EngineError("The model process ended", "Its exit code was [1].", "Send the message again.")
    app = make_app(ScriptedEngine(["one two three four five"], fail_after=3, failure=failure))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a", Activity.ERROR)
        shown = chat_text(pilot)
        for words in ("one two three", failure.title, failure.message, failure.hint):
            assert words in shown
        assert failure.title in screen_text(pilot).splitlines()[-1]
        await say(pilot, "b")
        assert "one two three four five" in chat_text(pilot)
        assert len(app.query(ErrorCard)) == 1


async def test_a_failed_start(make_app: MakeApp) -> None:
    failure = ModelError("No model installed", "There is no folder [/x].", "Run edgechat models add.")
    app = make_app(ScriptedEngine(["fine now"], fail_start=failure))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(app.query(ErrorCard)))
        shown = chat_text(pilot)
        for words in (failure.title, failure.message, failure.hint):
            assert words in shown
        assert activity(pilot) is Activity.ERROR
        await say(pilot, "a")
        assert "fine now" in chat_text(pilot)
        assert not app.query(ErrorCard)


async def test_a_failed_start_with_a_message_waiting(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["fine now"], load_delay=0.2)
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        engine.fail_start = ModelError("No model installed")
        await pilot.press("a", "enter")
        await until(pilot, lambda: not app.chat.sending)
        assert len(app.query(ErrorCard)) <= 1
        await say(pilot, "b")
        assert "fine now" in chat_text(pilot)


async def test_a_message_that_cannot_be_saved_comes_back(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()

    def full(*_args: object) -> None:
        raise StorageError("The disk is full", "history.db", "Free some space.")

    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        with monkeypatch.context() as patch:
            patch.setattr(HistoryStore, "add_turn", full)
            await say(pilot, "precious\n words", Activity.ERROR)
            assert app.chat.composer.text == "precious\n words"
            assert "The disk is full" in chat_text(pilot)
            assert not app.query(TurnView)
        await pilot.press("enter")
        await until(pilot, lambda: not app.chat.sending)
        assert app.session.conversation.turns[0].user == "precious\n words"
        assert not app.query(ErrorCard)


async def test_the_length_limit_is_told(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one two three"]))
    app.session.prompts.max_tokens = 2
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        assert "cut at the length limit" in chat_text(pilot)


async def test_quitting_while_a_reply_streams(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine([LONG], delay=0.02))
    began = asyncio.get_running_loop().time()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: "word word" in chat_text(pilot))
        await pilot.press("ctrl+q")
    assert asyncio.get_running_loop().time() - began < 8
    assert _replies(history) == [ReplyState.STOPPED]
    conversation = _store(history).latest()
    assert conversation is not None
    reply = conversation.turns[0].reply
    assert reply is not None
    assert reply.text.startswith("word word")


async def test_help_tells_every_key_and_closes(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 120)) as pilot:
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        shown = screen_text(pilot)
        for words in ("Enter", "Ctrl+J", "Shift+Enter", "Esc", "Ctrl+N", "PgUp", "Ctrl+P", "Ctrl+Q", "F1"):
            assert words in shown
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_every_binding_has_a_name_and_a_tooltip(make_app: MakeApp) -> None:
    app = make_app()
    ids: list[str] = []
    async with app.run_test() as pilot:
        await pilot.pause()
        sources = (
            *(EdgechatApp.BINDINGS, type(app.chat).BINDINGS, Composer.BINDINGS, HelpScreen.BINDINGS),
            *(ConversationView.BINDINGS, ChatList.BINDINGS, Rows.BINDINGS),
        )
        for source in sources:
            for binding in source:
                assert not isinstance(binding, tuple)
                assert binding.tooltip
                assert binding.id
                ids.append(binding.id)
    assert len(set(ids)) == len(ids)


async def test_the_command_palette(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"New chat", "Stop the reply", "Copy the last reply", "Theme", "Help", "Quit"} <= titles
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press(*"light colours")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "edgechat-light")
        assert app.screen is app.chat


async def test_every_theme_can_be_worn(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for name in app.available_themes:
            app.theme = name
            await pilot.pause()


async def test_copying_the_last_reply(make_app: MakeApp, clipboard: list[str]) -> None:
    app = make_app(ScriptedEngine(["one *two*"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        app.chat.action_copy_reply()
        await until(pilot, lambda: bool(clipboard))
    assert clipboard == ["one *two*"]


async def test_ctrl_c_does_not_quit(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Ctrl+Q quits" in screen_text(pilot))
        assert app.is_running


async def test_typing_anywhere_goes_to_the_composer(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chat.view.focus()
        await pilot.press("x", "y")  # y is a key of the conversation's, but by then the composer has the focus
        assert app.chat.composer.text == "xy"
        assert isinstance(app.focused, Composer)


async def test_the_tail_is_followed_until_the_user_scrolls_up(make_app: MakeApp) -> None:
    text = "\n\n".join(f"paragraph {number}" for number in range(60))
    engine = HeldEngine(text, hold_at=60)
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        view = app.chat.view
        await until(pilot, lambda: view.max_scroll_y > 20)
        assert view.scroll_y == view.max_scroll_y
        assert "new text below" not in screen_text(pilot)
        await pilot.press("pageup")
        await until(pilot, lambda: view.scroll_y < view.max_scroll_y)
        assert "new text below" not in screen_text(pilot)
        engine.go_on.set()
        await until(pilot, lambda: "new text below" in screen_text(pilot))
        held = view.scroll_y
        await until(pilot, lambda: not app.chat.sending)
        assert view.scroll_y == held
        assert held < view.max_scroll_y
        await pilot.press("ctrl+end")
        await pilot.pause(0.1)
        assert view.scroll_y == view.max_scroll_y
        assert "paragraph 59" in screen_text(pilot)
        assert "new text below" not in screen_text(pilot)


async def test_a_short_chat_begins_at_the_top(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["short"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        assert app.chat.view.scroll_y == 0
        assert "a" in "".join(screen_text(pilot).splitlines()[:3])


async def test_marks_are_quiet_words(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([""]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        assert len(app.query(Mark)) == 1
        assert "answered with nothing" in chat_text(pilot)
        assert app_of(pilot) is app


def _store(history: Path) -> HistoryStore:
    return HistoryStore.open(history)


def _replies(history: Path) -> list[ReplyState]:
    store = HistoryStore.open(history)
    try:
        found = [store.conversation(summary.id) for summary in store.list_conversations()]
        return [turn.reply.state for chat in found for turn in chat.turns if turn.reply is not None]
    finally:
        store.close()


async def test_a_reply_that_is_gone_may_still_be_drawn_behind_a_card(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["A short reply."]))
    async with app.run_test(size=(80, 24)) as pilot:
        await say(pilot, "hello")
        reply = app.query_one(ReplyView)
        await app.query_one(TurnView).remove()
        assert not reply.is_attached
        assert reply.render_lines(Region(0, 0, 20, 1))


async def test_a_press_of_the_mouse_where_something_was_harms_nothing(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["A short reply."]))
    async with app.run_test(size=(80, 24)) as pilot:
        await say(pilot, "hello")
        reply = app.query_one(ReplyView)
        place = reply.region.offset
        assert app.screen.get_widget_at(*place)[0] is reply
        with app.batch_update():  # nothing is laid out anew until its end
            await app.query_one(TurnView).remove()
            await pilot.mouse_down(offset=place)
            await pilot.hover(offset=place)
            assert app.screen.get_widget_at(*place)[0].is_attached
        await say(pilot, "still here")


async def test_what_is_looked_up_for_a_part_that_is_taken_away_ends_first(make_app: MakeApp) -> None:
    """It would find nothing to be shown in, and leaving would end with a fault."""
    app = make_app()
    async with app.run_test(size=(110, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: app.chat.chat_list.chats is not None)
        chats = app.chat.chat_list.chats
        assert chats is not None
        waiting = asyncio.Event()
        worker = chats.run_worker(waiting.wait())
        saving = app.chat.run_worker(waiting.wait())
        await asyncio.sleep(0)
        removal = chats.remove()
        assert worker.is_cancelled
        assert not saving.is_cancelled
        await removal
        waiting.set()
