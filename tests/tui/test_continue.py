"""Opening a chat that exists: what it shows, what it says of replies that did not end, and long ones."""

from __future__ import annotations

from typing import Any

import pytest

from edgechat.chat.conversation import Conversation, Reply, ReplyState, Turn
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.turn_list import MOST, Earlier, Later
from edgechat.tui.widgets.turn_view import TurnView
from edgechat.tui.widgets.welcome import Welcome
from tests.tui.conftest import MakeApp
from tests.tui.helpers import chat_text, ready, say, screen_text, until


def chat_of(*replies: Reply) -> Conversation:
    turns = [
        Turn(number, number - 1 or None, f"question {number}", 0.0, (reply,), 0)
        for number, reply in enumerate(replies, 1)
    ]
    return Conversation(1, "a chat", turns=tuple(turns))


def replies_of(count: int, more: str = "") -> list[Reply]:
    return [Reply(number, f"answer {number}{more}", ReplyState.COMPLETE) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (ReplyState.STOPPED, "", "stopped"),
        (ReplyState.INTERRUPTED, "", "interrupted: the program ended while this was written"),
        (ReplyState.STREAMING, "", "interrupted: the program ended while this was written"),
        (ReplyState.INTERRUPTED, "the worker [died]", "interrupted: the worker [died]"),
        (ReplyState.LENGTH, "", "cut at the length limit"),
        (ReplyState.FAILED, "No [memory].", "failed: No [memory]."),
    ],
)
async def test_replies_that_did_not_end_say_so(make_app: MakeApp, state: ReplyState, error: str, words: str) -> None:
    app = make_app(conversation=chat_of(Reply(1, "half a rep", state, error=error)))
    async with app.run_test(size=(100, 24)) as pilot:
        await until(pilot, lambda: bool(app.query(TurnView)))
        await ready(pilot)
        shown = chat_text(pilot)
        assert "question 1" in shown
        assert "half a rep" in shown
        assert words in shown
        assert not app.query(Welcome)


async def test_going_on_with_a_saved_chat(make_app: MakeApp, history: object) -> None:
    app = make_app(ScriptedEngine(["one", "two"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "first")
    assert hasattr(history, "exists")
    store = HistoryStore.open(history)  # type: ignore[arg-type]
    saved = store.latest()
    store.close()
    again = make_app(ScriptedEngine(["two"]), conversation=saved)
    async with again.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "one" in chat_text(pilot))
        assert again.chat.status_line.status.used > 0
        await say(pilot, "second")
        shown = chat_text(pilot)
        assert shown.index("first") < shown.index("one") < shown.index("second") < shown.index("two")


async def test_a_long_chat_shows_its_end_and_the_rest_on_the_way_up(make_app: MakeApp) -> None:
    app = make_app(conversation=chat_of(*replies_of(40, "\n\nmore")))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        view = app.chat.view
        await until(pilot, lambda: "answer 40" in screen_text(pilot))
        assert len(app.query(TurnView)) < 40
        assert len(app.query(Earlier)) == 1
        seen: set[int] = set()
        while app.query(Earlier):
            shown = {view.turn.id for view in app.query(TurnView)}
            seen |= shown
            await pilot.press("ctrl+home")
            await until(pilot, lambda shown=shown: shown != {view.turn.id for view in app.query(TurnView)})  # type: ignore[misc]
        turns = [view.turn.id for view in app.query(TurnView)]
        assert turns == list(range(1, len(turns) + 1))
        assert len(turns) <= MOST
        assert seen | set(turns) == set(range(1, 41))
        await pilot.press("ctrl+home")
        await until(pilot, lambda: view.scroll_y == 0)
        assert "question 1" in screen_text(pilot)
        assert "later message" in chat_text(pilot)
        while app.query(Later):
            view.scroll_end(animate=False)
            shown = {view.turn.id for view in app.query(TurnView)}
            await until(pilot, lambda shown=shown: shown != {view.turn.id for view in app.query(TurnView)})  # type: ignore[misc]
        view.scroll_end(animate=False)
        await until(pilot, lambda: "answer 40" in screen_text(pilot))


async def test_the_end_is_shown_however_late_the_layout_comes(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing seems to fill the screen as long as a busy machine has laid nothing out."""
    real: Any = ConversationView.max_scroll_y  # a property of the class
    fill = ConversationView._fill
    filled: list[int] = []

    async def counted(self: ConversationView) -> None:
        await fill(self)
        filled.append(len(filled))

    assert isinstance(real, property)
    assert real.fget is not None
    measure = real.fget
    monkeypatch.setattr(
        ConversationView, "max_scroll_y", property(lambda self: 0 if len(filled) < 3 else measure(self))
    )
    monkeypatch.setattr(ConversationView, "_fill", counted)
    app = make_app(conversation=chat_of(*replies_of(100)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(filled) >= 3)
        await until(pilot, lambda: "answer 100" in screen_text(pilot))


async def test_earlier_turns_do_not_move_what_is_read(make_app: MakeApp) -> None:
    app = make_app(conversation=chat_of(*replies_of(40)))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "answer 40" in screen_text(pilot))
        app.chat.view.scroll_to(y=3, animate=False)
        await pilot.pause(0.1)
        before = [line[:60] for line in screen_text(pilot).splitlines()[1:10]]
        app.chat.view.show_earlier()
        await until(pilot, lambda: len(app.query(TurnView)) > 12)
        await until(pilot, lambda: [line[:60] for line in screen_text(pilot).splitlines()[1:10]] == before)
