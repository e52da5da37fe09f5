"""Reading mode: every key that is about one turn, and that no letter and no draft is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from edgechat.chat.conversation import ReplyState
from edgechat.engine.scripted import ScriptedEngine
from edgechat.tui.dialogs.prompt import PromptScreen
from edgechat.tui.dialogs.text_prompt import AskCard
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.status import Activity
from edgechat.tui.widgets.turn_view import TurnView
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, app_of, chat_text, ready, say, screen_text, until, write
from tests.tui.test_continue import chat_of, replies_of

LONG = "word " * 4_000
CODE = "Two:\n\n```python\nprint(1)\n```\n\n- and\n\n  ```\n  second\n  ```\n"


def marked(pilot: Pilot[Any]) -> str:
    """The message of the turn that is marked."""
    if not app_of(pilot).chat.view.has_focus:
        return ""
    return " ".join(view.turn.user for view in app_of(pilot).query(TurnView) if view.has_class("-marked"))


def shown(pilot: Pilot[Any]) -> list[str]:
    return [view.turn.user for view in app_of(pilot).query(TurnView)]


async def talked(pilot: Pilot[Any], *messages: str) -> None:
    """Have said these, and read."""
    await ready(pilot)
    for message in messages:
        await say(pilot, message)
    await pilot.press("escape")
    await until(pilot, lambda: marked(pilot) == messages[-1])


@pytest.mark.parametrize("key", ["escape", "shift+tab"])
@pytest.mark.parametrize("back", ["escape", "enter", "i"])
async def test_to_the_conversation_and_back(make_app: MakeApp, key: str, back: str) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(100, 24)) as pilot:
        await ready(pilot)
        await pilot.press(key)
        assert isinstance(app.focused, Composer), "there is nothing to read yet"
        await say(pilot, "first")
        await write(pilot, "a draft")
        await pilot.press(key)
        await until(pilot, lambda: marked(pilot) == "first")
        assert "reading:" in screen_text(pilot)
        await pilot.press(back)
        await until(pilot, lambda: isinstance(app.focused, Composer) and not marked(pilot))
        assert "reading:" not in screen_text(pilot)
        assert app.chat.composer.text == "a draft"


async def test_moving_between_turns(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await talked(pilot, "one", "two", "three")
        for key, turn in (
            *(("k", "two"), ("up", "one"), ("k", "one"), ("j", "two"), ("down", "three"), ("j", "three")),
            *(("g", "one"), ("G", "three"), ("home", "one"), ("end", "three")),
        ):
            await pilot.press(key)
            await until(pilot, lambda turn=turn: marked(pilot) == turn)  # type: ignore[misc]


async def test_the_first_of_very_many_turns_is_reached_at_once(make_app: MakeApp) -> None:
    app = make_app(conversation=chat_of(*replies_of(500)))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "answer 500" in screen_text(pilot))
        app.chat.view.focus()
        await pilot.press("g")
        await until(pilot, lambda: marked(pilot) == "question 1" and "question 1" in screen_text(pilot))
        assert len(app.query(TurnView)) < 50
        await pilot.press(*"j" * 20)
        await until(pilot, lambda: marked(pilot) == "question 21" and "question 21" in screen_text(pilot))
        await pilot.press("G")
        await until(pilot, lambda: marked(pilot) == "question 500" and "answer 500" in screen_text(pilot))
        assert len(app.query(TurnView)) < 50


async def test_any_other_letter_is_written(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await talked(pilot, "first")
        await pilot.press("W", "h", "y", "question_mark")
        assert app.chat.composer.text == "Why?"
        assert isinstance(app.focused, Composer)


async def test_a_click_does_not_begin_to_read(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await pilot.click(TurnView)
        await pilot.press(*"dry")
        assert app.chat.composer.text == "dry"
        assert len(app.session.conversation.turns) == 1


async def test_copying(make_app: MakeApp, clipboard: list[str]) -> None:
    app = make_app(ScriptedEngine([CODE, "no code"]))
    async with app.run_test(size=(80, 40), notifications=True) as pilot:
        await talked(pilot, "first", "second")
        await pilot.press("c")
        await until(pilot, lambda: "no block of code" in screen_text(pilot))
        await pilot.press("y", "k", "y", "c", "c", "c")
        await until(pilot, lambda: len(clipboard) == 5)
        assert clipboard == ["no code", CODE, "print(1)", "second", "print(1)"]
        assert "Code 2 of 2" in "\n".join(note.message for note in app._notifications)


async def test_editing_an_earlier_message(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", "two", "three"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await write(pilot, "")
        await talked(pilot, "frist", "second")
        app.chat.composer.load_text("a draft")
        await pilot.press("k", "e")
        assert app.chat.composer.text == "frist"
        assert "editing an earlier message" in screen_text(pilot)
        await pilot.press("escape")
        assert app.chat.composer.text == "a draft"
        await pilot.press("escape", "k", "e", "ctrl+u", *"first", "enter")
        await until(pilot, lambda: not app.chat.sending and "three" in chat_text(pilot))
        assert shown(pilot) == ["first"]
        assert "message 2 of 2" in chat_text(pilot)
        assert app.chat.composer.text == "a draft"


async def test_stepping_at_a_turn(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", "two", "three", "four"]))
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await talked(pilot, "first", "second")
        await pilot.press("b")
        await until(pilot, lambda: "one version of this only" in screen_text(pilot))
        await pilot.press("k", "r")  # not the last turn: what follows stays on its own branch
        await until(pilot, lambda: not app.chat.sending and "three" in chat_text(pilot))
        assert shown(pilot) == ["first"]
        await until(pilot, lambda: marked(pilot) == "first")
        await pilot.press("r")
        await until(pilot, lambda: not app.chat.sending and "four" in chat_text(pilot))
        assert "message 2 of 2, reply 2 of 2" in chat_text(pilot)
        await pilot.press("left")
        await until(pilot, lambda: "three" in chat_text(pilot))
        await until(pilot, lambda: marked(pilot) == "first")
        await pilot.press("left")
        await until(pilot, lambda: "two" in chat_text(pilot))
        assert shown(pilot) == ["first", "second"]
        await until(pilot, lambda: marked(pilot) == "first")
        await pilot.press("left")
        await until(pilot, lambda: "no other version" in screen_text(pilot))
        await pilot.press("b")
        await until(pilot, lambda: "three" in chat_text(pilot))
        await pilot.press("right")
        await until(pilot, lambda: "four" in chat_text(pilot))
        await pilot.press("b")  # around
        await until(pilot, lambda: "two" in chat_text(pilot))
        await until(pilot, lambda: marked(pilot) == "first")


async def test_going_on_with_a_reply_that_was_cut(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one two three", "four five"]))
    app.session.prompts.max_tokens = 2
    async with app.run_test(size=(80, 24)) as pilot:
        await talked(pilot, "count")
        app.session.prompts.max_tokens = None
        await pilot.press("o")
        await until(pilot, lambda: not app.chat.sending and "one two four five" in chat_text(pilot))


async def test_deleting_any_turn_and_undoing(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(80, 30), notifications=True) as pilot:
        await talked(pilot, "one", "two", "three")
        await pilot.press("k", "d")
        await until(pilot, lambda: shown(pilot) == ["one"] and "2 messages are deleted" in screen_text(pilot))
        await until(pilot, lambda: marked(pilot) == "one")
        await pilot.press("u")
        await until(pilot, lambda: shown(pilot) == ["one", "two", "three"] and marked(pilot) == "three")
        await pilot.press("delete")
        await until(pilot, lambda: shown(pilot) == ["one", "two"])
        await pilot.press("f9")
        await until(pilot, lambda: shown(pilot) == ["one", "two", "three"])


async def test_feedback(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await talked(pilot, "one", "two")
        await pilot.press("k")
        for key, words in (("plus", "liked"), ("minus", "disliked")):
            await pilot.press(key)
            await until(pilot, lambda words=words: f" {words}" in chat_text(pilot))  # type: ignore[misc]
        await pilot.press("minus")
        await until(pilot, lambda: "liked" not in chat_text(pilot))
        await pilot.press("plus", "n")
        await until(pilot, lambda: isinstance(app.screen, AskCard))
        assert app.chat.view.marked == app.session.conversation.turns[0].id
        await pilot.press(*"[b]nice", "enter")
        await until(pilot, lambda: "[b]nice" in chat_text(pilot))
        reply = app.session.conversation.turns[0].reply
        assert reply is not None
        assert (reply.rating, reply.note) == (1, "[b]nice")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, AskCard))
        assert app.screen.query_one(Input).value == "[b]nice"
        await pilot.press("ctrl+u", "escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press("n", "ctrl+u", "enter")
        await until(pilot, lambda: "nice" not in chat_text(pilot))
        assert isinstance(app.focused, ConversationView)
        assert marked(pilot) == "one"


async def test_a_turn_is_always_sent(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await talked(pilot, "one", "two")
        await pilot.press("k", "asterisk")
        await until(pilot, lambda: "always sent" in chat_text(pilot))
        assert [turn.pinned for turn in app.session.conversation.turns] == [True, False]
        await pilot.press("asterisk")
        await until(pilot, lambda: "always sent" not in chat_text(pilot))


async def test_the_prompt_of_an_earlier_reply(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x"]))
    async with app.run_test(size=(100, 30)) as pilot:
        await talked(pilot, "alpha", "beta")
        await pilot.press("k", "p")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert "alpha" in screen_text(pilot)
        assert "beta" not in "\n".join(line[:60] for line in screen_text(pilot).splitlines() if "<|" in line)
        assert "The prompt of this reply" in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_reading_while_a_reply_is_written(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", 5 * LONG], delay=0.01))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await pilot.press("a", "enter")
        await until(pilot, lambda: activity(pilot) is Activity.WRITING)
        await pilot.press("shift+tab", "k", "d", "r", "e", "b", "left", "plus")
        await until(pilot, lambda: "being written" in screen_text(pilot))
        assert shown(pilot) == ["first", "a"]
        assert app.chat.composer.text == ""
        await until(pilot, lambda: "liked" in chat_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: activity(pilot) is Activity.STOPPED)
        reply = app.session.conversation.turns[1].reply
        assert reply is not None
        assert reply.state is ReplyState.STOPPED
