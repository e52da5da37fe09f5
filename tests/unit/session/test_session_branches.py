"""Branching in a chat being held: edit, another reply, going on, stepping, deleting with undo, settings of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from edgechat.chat.conversation import ChatSettings, Conversation, ReplyState
from edgechat.engine.protocol import Sampling, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError, StorageError
from edgechat.history.search import SearchHit
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script=[f"answer {number}" for number in range(1, 20)])


@pytest.fixture
async def session(engine: ScriptedEngine, path: Path) -> AsyncIterator[Session]:
    made = Session(engine, HistoryStore.open(path))
    yield made
    await made.aclose()


async def all_of(events: AsyncGenerator[SessionEvent, None]) -> list[SessionEvent]:
    return [event async for event in events]


def shown(session: Session) -> list[str]:
    return [message.content for message in session.conversation.messages()]


async def test_an_edited_message_is_a_sibling_and_the_old_branch_stays(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    for text in ("one", "two", "three"):
        await all_of(session.send(text))
    second = session.conversation.turns[1]
    await all_of(session.edit(second.id, "two, better"))
    assert shown(session) == ["one", "answer 1", "two, better", "answer 4"]
    assert [message.content for message in engine.requests[-1].messages] == ["one", "answer 1", "two, better"]
    assert session.conversation.turns[1].siblings == (second.id, session.conversation.turns[1].id)
    assert await session.chat.step(-1)
    assert shown(session) == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]
    assert not await session.chat.step(-1)
    await all_of(session.send("four"))
    assert shown(session)[-4:] == ["three", "answer 3", "four", "answer 5"]
    store = HistoryStore.open(path)
    latest = store.latest()
    store.close()
    assert latest is not None
    assert latest.messages() == session.conversation.messages()
    with pytest.raises(StorageError, match="No such message"):
        await all_of(session.edit(99, "x"))


async def test_a_place_in_another_branch_is_opened(session: Session) -> None:
    for text in ("one", "two"):
        await all_of(session.send(text))
    chat, second = session.conversation.id, session.conversation.turns[1]
    await all_of(session.regenerate())
    await all_of(session.edit(second.id, "other"))
    session.new()
    assert second.reply is not None
    await session.open(chat, second.id, second.reply.id)
    assert shown(session) == ["one", "answer 1", "two", "answer 2"]
    with pytest.raises(StorageError, match="No such turn"):
        await session.open(chat, 99)
    assert shown(session) == ["one", "answer 1", "two", "answer 2"]


async def test_another_reply_is_a_sibling_and_sees_the_same_prompt(session: Session, engine: ScriptedEngine) -> None:
    await all_of(session.send("one"))
    events = await all_of(session.regenerate())
    assert isinstance(events[0], TurnSaved)
    assert events[0].turn.replies == ()
    closed = events[-1]
    assert isinstance(closed, TurnClosed)
    assert [reply.text for reply in closed.turn.replies] == ["answer 1", "answer 2"]
    assert engine.requests[0].messages == engine.requests[1].messages
    assert shown(session) == ["one", "answer 2"]
    assert await session.chat.step(-1)
    assert shown(session) == ["one", "answer 1"]
    assert await session.chat.step(1)
    assert not await session.chat.step(1)
    assert shown(session) == ["one", "answer 2"]


async def test_a_reply_that_was_cut_goes_on_and_stays_one(session: Session, engine: ScriptedEngine, path: Path) -> None:
    engine.script = ["one two three four", "five six"]
    session.prompts.max_tokens = 2
    await all_of(session.send("count"))
    session.prompts.max_tokens = None
    events = await all_of(session.resume())
    assert isinstance(events[0], TurnSaved)
    assert events[0].turn.reply is not None
    assert events[0].turn.reply.text == "one two "
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "five six"
    assert engine.requests[-1].continued_text == "one two "
    store = HistoryStore.open(path)
    latest = store.latest()
    store.close()
    assert latest is not None
    [reply] = latest.turns[0].replies
    assert (reply.text, reply.state) == ("one two five six", ReplyState.COMPLETE)
    assert reply.prompt_tokens + reply.completion_tokens == session.context_used
    closed = events[-1]
    assert isinstance(closed, TurnClosed)
    assert session.context_used == closed.finished.usage.context


async def test_going_on_that_fails_keeps_what_was_there(session: Session, engine: ScriptedEngine) -> None:
    engine.script = ["one two three four", "five six"]
    session.prompts.max_tokens = 2
    await all_of(session.send("count"))
    engine.fail_after = 1
    with pytest.raises(EngineError, match="ended"):
        await all_of(session.resume())
    reply = session.conversation.turns[0].reply
    assert reply is not None
    assert (reply.text, reply.state) == ("one two five ", ReplyState.FAILED)
    assert not session.busy
    await all_of(session.resume())  # what failed can be gone on with as well
    assert shown(session)[1].startswith("one two five ")


async def test_there_must_be_something_to_go_on_with(session: Session) -> None:
    for call in (session.resume, session.regenerate):
        with pytest.raises(EngineError, match="empty"):
            await all_of(call())
    await all_of(session.send("one"))
    with pytest.raises(EngineError, match="nothing to go on"):
        await all_of(session.resume())
    assert not session.busy


async def test_nothing_is_changed_while_a_reply_is_written(session: Session, engine: ScriptedEngine) -> None:
    await all_of(session.send("one"))
    engine.delay = 0.05
    async with aclosing(session.send("two")) as events:
        await anext(events)
        for call in (
            session.chat.step(1),
            session.library.delete_turn(),
            session.library.delete_chat(),
            session.library.undelete(),
            session.open(session.conversation.id),
            session.chat.configure("", ChatSettings()),
        ):
            with pytest.raises(EngineError, match="being written"):
                await call
        for more in (session.regenerate(), session.resume(), session.edit(1, "x")):
            with pytest.raises(EngineError, match="being written"):
                await all_of(more)


async def test_deleting_is_undone_in_turn(session: Session) -> None:
    assert not await session.library.delete_turn()
    assert not await session.library.delete_chat()
    assert not await session.library.undelete()
    await all_of(session.send("one"))
    await all_of(session.send("two"))
    before = session.conversation
    assert await session.library.delete_turn()
    assert shown(session) == ["one", "answer 1"]
    assert await session.library.delete_chat()
    assert session.conversation.id == 0
    assert await session.library.chats() == []
    assert await session.library.undelete()
    assert shown(session) == ["one", "answer 1"]
    assert await session.library.undelete()
    assert session.conversation.turns == before.turns


async def test_a_chat_has_a_name_a_system_message_and_settings_of_its_own(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    await session.library.rename("nothing to name yet")
    await session.chat.configure("Be brief.", ChatSettings(temperature=0.0, max_tokens=1))
    await all_of(session.send("one"))
    request = engine.requests[-1]
    assert request.messages[0].content == "Be brief."
    assert (request.sampling, request.max_tokens) == (Sampling(temperature=0.0), 1)
    await session.library.rename("  a\nname ")
    await session.chat.configure("", ChatSettings(seed=7))
    await all_of(session.send("two"))
    assert engine.requests[-1].sampling == Sampling(seed=7)
    first = session.conversation
    assert first.title == "a name"
    session.new()
    await all_of(session.send("three"))
    assert engine.requests[-1].sampling == session.prompts.sampling
    opened = await session.open(first.id)
    assert (opened.title, opened.settings, opened.turns) == (first.title, first.settings, first.turns)
    assert [chat.title for chat in await session.library.chats()] == ["three", "a name"]
    assert {hit.conversation for hit in await session.library.chats("two") if isinstance(hit, SearchHit)} == {first.id}


async def test_another_model_goes_on_with_a_chat_and_says_so_once(session: Session, path: Path) -> None:
    await all_of(session.send("one"))
    store = HistoryStore.open(path)
    with store._database.writing() as db:
        db.execute("UPDATE conversation SET model = 'phi'")
    store.close()
    await session.open(session.conversation.id)
    told = [
        event.notices for text in ("two", "three") async for event in session.send(text) if isinstance(event, TurnSaved)
    ]
    assert told == [("This chat was held with phi; scripted goes on with it.",), ()]


async def test_a_message_goes_into_the_chat_that_is_being_opened(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await all_of(session.send("first"))
    first = session.conversation.id
    session.new()
    await all_of(session.send("second"))
    slow = threading.Event()
    read = session._store.conversation

    def slowly(chat: int) -> Conversation:
        slow.wait(10)
        return read(chat)

    monkeypatch.setattr(session._store, "conversation", slowly)
    opening = asyncio.create_task(session.open(first))
    await asyncio.sleep(0)
    stepping = asyncio.create_task(session.library.delete_turn())
    sending = asyncio.create_task(all_of(session.send("third")))
    await asyncio.sleep(0)
    assert not session.busy
    slow.set()
    await asyncio.gather(opening, stepping, sending)
    assert shown(session)[0] == "third"
    assert session.conversation.id == first
    assert [turn.user for turn in read(first).turns] == ["third"]
