"""The list of chats: what it shows, how it folds, what its keys do, and that it waits for the first paint."""

from __future__ import annotations

import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from edgechat.chat.conversation import ReplyState
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.search import SearchHit
from edgechat.history.store import ConversationSummary, HistoryStore
from edgechat.tui.dialogs.text_prompt import AskCard
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.sidebar import PAGE, ChatList, group_of, grouped
from edgechat.tui.widgets.status import Activity
from tests.tui.conftest import MakeApp
from tests.tui.helpers import HOSTILE, activity, app_of, chat_text, ready, say, screen_text, until, write

WIDE, NARROW = (120, 30), (80, 24)


def fill(path: Path, *chats: tuple[str, str]) -> list[int]:
    """Chats of one turn each, the first one the oldest."""
    store = HistoryStore.open(path)
    ids = []
    for question, answer in chats:
        chat = store.create_conversation(model="scripted")
        reply = store.add_reply(store.add_turn(chat.id, None, question).id, "scripted")
        store.close_reply(reply.id, ReplyState.COMPLETE, text=answer)
        ids.append(chat.id)
    store.close()
    return ids


THREE = (("first question", "a wombat"), ("second question", "a quokka"), (HOSTILE, "a numbat"))


def listed(pilot: Pilot[Any]) -> str:
    chats = app_of(pilot).chat.chat_list.chats
    return "" if chats is None else "\n".join(str(option.prompt) for option in chats.rows.options)


async def in_list(pilot: Pilot[Any]) -> ChatList:
    """Go to the rows of the list."""
    if not app_of(pilot).chat.sidebar.display:
        await pilot.press("ctrl+b")
    await until(pilot, lambda: app_of(pilot).chat.chat_list.chats is not None and "question" in listed(pilot))
    chats = app_of(pilot).chat.chat_list.chats
    assert chats is not None
    chats.rows.focus()
    await pilot.pause()
    return chats


async def test_it_is_open_where_there_is_room(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "second question" in screen_text(pilot))
        assert isinstance(app.focused, Composer)
        assert not set("\x1b\u202e") & set(screen_text(pilot))
        assert "[bold red]" in listed(pilot)
        for keys, shown in ((["ctrl+b"], False), (["ctrl+b", "escape"], True)):
            await pilot.press(*keys)
            assert app.chat.sidebar.display is shown
            assert isinstance(app.focused, Composer)
        await pilot.resize_terminal(*NARROW)
        await until(pilot, lambda: not app.chat.sidebar.display)
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: app.chat.sidebar.display)


@pytest.mark.parametrize("size", [(30, 9), (40, 12), (80, 24), (99, 24)])
async def test_it_lies_over_a_narrow_conversation_and_closes_after_a_choice(
    make_app: MakeApp, history: Path, size: tuple[int, int]
) -> None:
    fill(history, *THREE)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        assert app.chat.chat_list.chats is None, "nothing is read for a list that is folded"
        width = app.chat.view.outer_size.width
        chats = await in_list(pilot)
        assert app.chat.view.outer_size.width == width
        assert chats.rows.highlighted == 1
        await pilot.press("down", "enter")
        await until(pilot, lambda: "a quokka" in chat_text(pilot))
        assert not app.chat.sidebar.display
        assert isinstance(app.focused, Composer)
        await pilot.press("ctrl+b", "escape")
        await until(pilot, lambda: not app.chat.sidebar.display)


async def test_it_comes_with_the_room_for_it(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE)
    async with make_app().run_test(size=NARROW) as pilot:
        await ready(pilot)
        assert listed(pilot) == ""
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: "first question" in listed(pilot) and "first question" in screen_text(pilot))


async def test_words_are_searched_as_they_are_typed(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE)
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"womb")
        await until(pilot, lambda: "a wombat" in listed(pilot))
        assert "quokka" not in listed(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "a wombat" in chat_text(pilot) and isinstance(app.focused, Composer))
        assert app.session.conversation.title == "first question"
        await pilot.press("ctrl+o", "escape")  # drops the words
        await until(pilot, lambda: "second question" in listed(pilot))
        await pilot.press(*"nowhere")
        await until(pilot, lambda: "Nothing found" in listed(pilot))
        await pilot.press("enter", "escape", "escape")
        await until(pilot, lambda: isinstance(app.focused, Composer))
        assert app.session.conversation.title == "first question"


async def test_a_letter_in_the_list_is_searched_for_and_arrows_go_between(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        chats = await in_list(pilot)
        await pilot.press("w")
        assert chats.search.value == "w"
        assert chats.search.has_focus
        await pilot.press("backspace")
        await until(pilot, lambda: "Today" in listed(pilot))
        await pilot.press("down")
        assert chats.rows.has_focus
        await pilot.press("up")
        assert chats.search.has_focus


async def test_pinning_archiving_and_renaming(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE[:2])
    app = make_app()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await ready(pilot)
        chats = await in_list(pilot)
        await pilot.press("down", "p")
        await until(pilot, lambda: listed(pilot).splitlines()[0] == "Pinned")
        assert listed(pilot).splitlines()[1].strip() == "first question"
        assert chats.rows.highlighted == 1
        await pilot.press("p")
        await until(pilot, lambda: "Pinned" not in listed(pilot))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, AskCard))
        assert app.screen.query_one(Input).value == "first question"
        await pilot.press("ctrl+u", *"Other", "enter")
        await until(pilot, lambda: "Other" in listed(pilot))
        await pilot.press("a")
        await until(pilot, lambda: "Other" not in listed(pilot))
        await pilot.press("end", "enter")
        await until(pilot, lambda: "Archived, Today" in listed(pilot))
        assert "Other" in listed(pilot)
        await pilot.press("home", "a")
        await until(pilot, lambda: "Other" not in listed(pilot))
        await pilot.press("end", "enter")
        await until(pilot, lambda: "Other" in listed(pilot) and "second" in listed(pilot))


async def test_deleting_and_undoing(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE[:2])
    app = make_app()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await ready(pilot)
        await write(pilot, "a draft")
        await in_list(pilot)
        await pilot.press("down", "delete")
        await until(pilot, lambda: "first question" not in listed(pilot))
        await pilot.press("f9")
        await until(pilot, lambda: "first question" in listed(pilot) and "a wombat" in chat_text(pilot))
        await in_list(pilot)
        await pilot.press("delete")  # the one that is open now
        await until(pilot, lambda: app.session.chat.id == 0)
        assert "wombat" not in chat_text(pilot)
        await until(pilot, lambda: "first question" not in listed(pilot))


async def test_it_follows_the_chat(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one", "two"]))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "No chats yet" in listed(pilot))
        await say(pilot, "something new")
        await until(pilot, lambda: "something new" in listed(pilot))
        assert "\u203a something new" in listed(pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "\u203a" not in listed(pilot))
        await say(pilot, "another")
        await until(pilot, lambda: "\u203a another" in listed(pilot))


async def test_no_chat_is_opened_while_a_reply_is_written(make_app: MakeApp, history: Path) -> None:
    fill(history, *THREE[:1])
    app = make_app(ScriptedEngine(["word " * 4_000], delay=0.01))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        await until(pilot, lambda: activity(pilot) is Activity.WRITING)
        await in_list(pilot)
        await pilot.press("end", "up", "enter")
        await until(pilot, lambda: "being written" in screen_text(pilot))
        assert "wombat" not in chat_text(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: activity(pilot) is Activity.STOPPED)


async def test_more_chats_come_when_they_are_asked_for(make_app: MakeApp, history: Path) -> None:
    fill(history, *((f"question {number}", "x") for number in range(PAGE + 30)))
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        chats = await in_list(pilot)
        assert len(chats.rows.options) == PAGE + 2  # with the heading, and what brings more
        await pilot.press("end", "enter")
        await until(pilot, lambda: len(chats.rows.options) == PAGE + 32)
        assert "question 0" in listed(pilot)


NOW = datetime(2026, 3, 10, 12).astimezone()


@pytest.mark.parametrize(
    ("days", "heading"),
    [
        (-2, "Today"),
        (0, "Today"),
        (1, "Yesterday"),
        (2, "Last 7 days"),
        (7, "Last 7 days"),
        (8, "March 2026"),
        (10, "February 2026"),
        (100, "November 2025"),
    ],
)
def test_headings(days: int, heading: str) -> None:
    chat = ConversationSummary(1, "a", "", NOW.timestamp() - days * 24 * 3600, 1)
    assert group_of(chat, NOW.date()) == heading


def test_no_heading_comes_twice_when_the_clock_went_backwards() -> None:
    day = 24 * 3600
    ages = (0, 3 * day, 0, 3 * day)
    chats = [ConversationSummary(n, "a", "", time.time() - age, 1) for n, age in enumerate(ages)]
    chats.append(ConversationSummary(9, "a", "", 1e300, 1))
    headings = [item for item in grouped(chats, date.today()) if isinstance(item, str)]
    assert headings == ["Today", "Last 7 days", "Long ago"]


async def test_a_pinned_chat_is_unpinned_where_it_was_found(make_app: MakeApp, history: Path) -> None:
    first, second, _third = fill(history, *THREE)
    store = HistoryStore.open(history)
    for chat in (first, second):
        store.chats.pin(chat, True)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        chats = await in_list(pilot)
        chats.search.value = "question"
        await until(pilot, lambda: len(chats.rows.options) == 2)
        chats.rows.focus()
        await pilot.press("down")
        await until(pilot, lambda: chats.rows.highlighted == 1)
        found = chats.choice
        assert isinstance(found, SearchHit)

        def is_pinned(wanted: bool) -> bool:
            chosen = chats.choice
            if not isinstance(chosen, SearchHit) or chosen.conversation != found.conversation:
                return False
            return chosen.pinned is store.conversation(chosen.conversation).pinned is wanted

        for wanted in (False, True, False):  # the highlight stays where it was
            await pilot.press("p")
            await until(pilot, lambda: is_pinned(wanted))  # noqa: B023
    store.close()
