"""The keys of branches and chats: again, go on, edit, step, delete and undo, rename, open another chat, search."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from edgechat.chat.conversation import ReplyState
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.tui.dialogs.text_prompt import AskCard
from edgechat.tui.palette_commands import chat_commands
from edgechat.tui.widgets.notices import Facts, Mark
from edgechat.tui.widgets.status import Activity
from edgechat.tui.widgets.turn_view import TurnView
from edgechat.tui.widgets.welcome import Welcome
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, chat_text, ready, say, screen_text, until, write

LONG = "word " * 4_000


async def test_another_reply_takes_the_place_of_the_one_before(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["first answer", "second answer"]))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "no message to answer" in screen_text(pilot))
        await say(pilot, "question")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not app.chat.sending and bool(app.query(Facts)))
        shown = chat_text(pilot)
        assert "second answer" in shown
        assert "first answer" not in shown
        assert "reply 2 of 2" in shown
        assert len(app.query(TurnView)) == 1
        await pilot.press("alt+left")
        await until(pilot, lambda: "first answer" in chat_text(pilot))
        assert "reply 1 of 2" in chat_text(pilot)
        await pilot.press("alt+left")
        await until(pilot, lambda: "no other version" in screen_text(pilot))
        await pilot.press("f4")
        await until(pilot, lambda: "second answer" in chat_text(pilot))


async def test_a_stopped_reply_goes_on_in_its_place(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["one two three", "four five", "never"])
    app = make_app(engine)
    app.session.prompts.max_tokens = 2
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await say(pilot, "count")
        assert "cut at the length limit" in chat_text(pilot)
        app.session.prompts.max_tokens = None
        await pilot.press("f7")
        await until(pilot, lambda: not app.chat.sending and "one two four five" in chat_text(pilot))
        assert not app.query(Mark)
        reply = app.session.conversation.turns[0].reply
        assert reply is not None
        assert (reply.text, reply.state) == ("one two four five", ReplyState.COMPLETE)
        await pilot.press("f7")
        await until(pilot, lambda: "nothing to go on with" in screen_text(pilot))
        assert len(engine.requests) == 2


async def test_the_last_message_is_edited_and_a_draft_waits(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", "two", "three"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await say(pilot, "secnd")
        await write(pilot, "a draft")
        await pilot.press("ctrl+up")
        assert app.chat.composer.text == "secnd"
        assert "editing" in screen_text(pilot)
        await pilot.press("escape")
        assert app.chat.composer.text == "a draft"
        assert "editing" not in screen_text(pilot)
        await pilot.press("ctrl+up", "backspace", "backspace", *"ond", "enter")
        await until(pilot, lambda: not app.chat.sending and "three" in chat_text(pilot))
        assert app.chat.composer.text == "a draft"
        shown = chat_text(pilot)
        assert "second" in shown
        assert "secnd" not in shown
        assert "message 2 of 2" in shown
        await pilot.press("alt+left")
        await until(pilot, lambda: "secnd" in chat_text(pilot) and "two" in chat_text(pilot))
        assert [view.turn.user for view in app.query(TurnView)] == ["first", "secnd"]


async def test_deleting_and_undoing(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine(["one", "two"]))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("f9")
        await until(pilot, lambda: "Nothing was deleted" in screen_text(pilot))
        await say(pilot, "first")
        await say(pilot, "second")
        await pilot.press("f8")
        await until(pilot, lambda: "second" not in chat_text(pilot))
        await until(pilot, lambda: "message is deleted" in screen_text(pilot))
        await app.chat.action_delete_chat()
        await until(pilot, lambda: bool(app.query(Welcome)))
        store = HistoryStore.open(history)
        assert store.list_conversations() == []
        store.close()
        await pilot.press("f9")
        await until(pilot, lambda: "first" in chat_text(pilot))
        await pilot.press("f9")
        await until(pilot, lambda: "second" in chat_text(pilot))
        await say(pilot, "third")
        assert [turn.user for turn in app.session.conversation.turns] == ["first", "second", "third"]


async def test_nothing_is_changed_while_a_reply_is_written(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([LONG], delay=0.01))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: activity(pilot) is Activity.WRITING)
        for key in ("ctrl+r", "f7", "ctrl+up", "alt+left", "f8", "f9"):
            await pilot.press(key)
        await until(pilot, lambda: "being written" in screen_text(pilot))
        assert app.screen is app.chat
        assert len(app.query(TurnView)) == 1
        await pilot.press("escape")
        await until(pilot, lambda: activity(pilot) is Activity.STOPPED)


async def test_renaming(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: "no message yet" in screen_text(pilot))
        await say(pilot, "question")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, AskCard))
        assert app.screen.query_one(Input).value == "question"
        await pilot.press("ctrl+u", *"Other", "enter")
        await until(pilot, lambda: app.session.conversation.title == "Other")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, AskCard))
        await pilot.press("x", "escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert app.session.conversation.title == "Other"


async def test_the_palette_has_every_command(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", "two"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {title for title, _, _ in chat_commands(app.chat)} <= titles
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press(*"answer again")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: "reply 2 of 2" in chat_text(pilot))


async def test_a_backup_is_made_after_the_start(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "kept")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(list((history.parent / "backups").glob("*.db"))) == 1)
