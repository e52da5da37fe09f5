"""One conversation being held, on the scripted engine and a real store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import ChatSettings, Reply, ReplyState
from edgechat.engine.protocol import TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import ConfigError, EngineError, ModelError, StorageError
from edgechat.history.store import HistoryStore
from edgechat.session.reply_journal import JOURNAL_SECONDS
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved

LONG = "word " * 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history" / "history.db"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script=["One two.", "Three four.", "Five."])


@pytest.fixture
async def session(engine: ScriptedEngine, path: Path) -> AsyncIterator[Session]:
    made = Session(engine, HistoryStore.open(path), system="Be brief.")
    yield made
    await made.aclose()


async def held(session: Session, text: str) -> list[SessionEvent]:
    return [event async for event in session.send(text)]


def stored(path: Path) -> list[tuple[str, list[tuple[str, ReplyState]]]]:
    """The turns as another process would find them."""
    store = HistoryStore.open(path)
    try:
        chat = store.latest()
        turns = chat.turns if chat else ()
        return [(turn.user, [(reply.text, reply.state) for reply in turn.replies]) for turn in turns]
    finally:
        store.close()


async def test_a_turn_is_saved_answered_and_closed(session: Session, path: Path) -> None:
    events = await held(session, "Hello")
    assert isinstance(events[0], TurnSaved)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "One two."
    closed = events[-1]
    assert isinstance(closed, TurnClosed)
    assert closed.turn.reply is not None
    assert closed.turn.reply.state is ReplyState.COMPLETE
    assert closed.turn.reply.ttft is not None
    assert session.context_used == closed.finished.usage.context
    assert stored(path) == [("Hello", [("One two.", ReplyState.COMPLETE)])]


async def test_the_model_sees_the_whole_conversation(session: Session, engine: ScriptedEngine) -> None:
    await held(session, "Hello")
    await held(session, "Again")
    assert [(message.role, message.content) for message in engine.requests[-1].messages] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "One two."),
        ("user", "Again"),
    ]


async def test_the_message_is_stored_before_anything_runs(session: Session, path: Path) -> None:
    async with aclosing(session.send("Hello")) as events:
        async for event in events:
            assert isinstance(event, TurnSaved)
            assert stored(path) == [("Hello", [])]
            break


async def test_the_reply_is_journalled_while_it_streams(session: Session, engine: ScriptedEngine, path: Path) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.01
    async with aclosing(session.send("Hello")) as events:
        seen = ""
        async for event in events:
            if isinstance(event, TextDelta):
                seen += event.text
                if len(seen) == 5 * 100:
                    break
        before = stored(path)[0][1][0]
        # Whoever read the journal saw all but the last moments, and the reply as unfinished.
        assert before[1] is ReplyState.STREAMING
        assert len(before[0]) >= len(seen) - 5 * (2 * JOURNAL_SECONDS / 0.01)
        assert len(before[0]) > 0
        live = session.conversation.turns[-1].reply
        assert live is not None
        assert live.text == seen


async def test_stop_keeps_the_partial_reply(session: Session, engine: ScriptedEngine, path: Path) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.005
    seen = ""
    closed: SessionEvent | None = None
    async for closed in session.send("Hello"):
        if isinstance(closed, TextDelta):
            seen += closed.text
            if len(seen) == 50:
                await session.stop()
    assert isinstance(closed, TurnClosed)
    assert stored(path) == [("Hello", [(seen, ReplyState.STOPPED)])]
    assert not session.busy
    await held(session, "Go on")
    assert engine.requests[-1].messages[2].content == seen


async def test_stop_while_the_model_loads(engine: ScriptedEngine, session: Session, path: Path) -> None:
    engine.load_delay = 30
    loading = asyncio.create_task(session.start())
    async for event in session.send("Hello"):
        if isinstance(event, TurnSaved):
            asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(session.stop()))
    assert stored(path) == [("Hello", [("", ReplyState.STOPPED)])]
    loading.cancel()


async def test_walking_away_stops_and_keeps(session: Session, engine: ScriptedEngine, path: Path) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.005
    async with aclosing(session.send("Hello")) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert stored(path) == [("Hello", [("word ", ReplyState.STOPPED)])]
    assert not session.busy


async def test_cancelling_stops_and_keeps(session: Session, engine: ScriptedEngine, path: Path) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.005
    task = asyncio.create_task(held(session, "Hello"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while session.busy:
        await asyncio.sleep(0.01)
    [(_, [(text, state)])] = stored(path)
    assert text.startswith("word word")
    assert state is ReplyState.STOPPED


async def test_an_engine_that_fails_leaves_text_and_reason(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    engine.script, engine.fail_after = lambda _: LONG, 3
    with pytest.raises(EngineError, match="ended"):
        await held(session, "Hello")
    reply = session.conversation.turns[-1].reply
    assert reply is not None
    assert reply.state is ReplyState.FAILED
    assert "exit code" in reply.error
    assert stored(path) == [("Hello", [("word word word ", ReplyState.FAILED)])]
    assert isinstance((await held(session, "Again"))[-1], TurnClosed)


async def test_a_model_that_cannot_be_loaded_leaves_the_message(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    engine.fail_start = ModelError("No model installed", "There is none.", "Add one.")
    with pytest.raises(ModelError):
        await held(session, "Hello")
    assert stored(path) == [("Hello", [("", ReplyState.FAILED)])]
    await held(session, "Again")
    # What was never answered is kept for the user, but not told to the model once more.
    assert [message.content for message in engine.requests[-1].messages] == ["Be brief.", "Again"]


async def test_a_message_too_long_for_the_context_does_not_end_the_chat(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    engine.context = 60
    await held(session, "Hello")
    with pytest.raises(EngineError, match="longer than the context"):
        await held(session, "word " * 100)
    assert isinstance((await held(session, "Short."))[-1], TurnClosed)
    assert [message.content for message in engine.requests[-1].messages] == [
        "Be brief.",
        "Hello",
        "One two.",
        "Short.",
    ]
    assert [turn for turn, _ in stored(path)] == ["Hello", "word " * 100, "Short."]


async def test_text_that_cannot_be_stored_is_mended_and_told(session: Session, path: Path) -> None:
    events = await held(session, "a\x00b\ud800")
    assert isinstance(events[0], TurnSaved)
    assert "2 characters" in events[0].notices[0]
    assert stored(path)[0][0] == "a\ufffdb\ufffd"


@pytest.mark.parametrize("text", ["", "  \n\t "])
async def test_an_empty_message_is_refused(session: Session, path: Path, text: str) -> None:
    with pytest.raises(EngineError, match="empty"):
        await held(session, text)
    assert stored(path) == []


async def test_one_reply_at_a_time(session: Session, engine: ScriptedEngine) -> None:
    engine.delay = 0.05
    async with aclosing(session.send("Hello")) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                assert session.busy
                with pytest.raises(EngineError, match="being written"):
                    await held(session, "Again")
                with pytest.raises(EngineError, match="being written"):
                    session.new()
                break


async def test_a_new_chat_is_another_one_and_both_are_kept(session: Session, path: Path) -> None:
    await held(session, "Hello")
    first = session.conversation.id
    session.new()
    assert session.conversation.id == 0
    assert session.context_used == 0
    await held(session, "Other")
    assert session.conversation.id != first
    store = HistoryStore.open(path)
    assert [chat.title for chat in store.list_conversations()] == ["Other", "Hello"]
    store.close()


async def test_going_on_with_a_chat(path: Path) -> None:
    first = Session(ScriptedEngine(script=["One."]), HistoryStore.open(path), system="Be kind.")
    await held(first, "Hello")
    await first.aclose()
    store = HistoryStore.open(path)
    engine = ScriptedEngine(script=["Two."])
    again = Session(engine, store, conversation=store.latest(), system="ignored: the chat has its own")
    await held(again, "And?")
    assert [message.content for message in engine.requests[0].messages] == ["Be kind.", "Hello", "One.", "And?"]
    await again.aclose()


async def test_max_tokens_and_sampling_reach_the_engine(session: Session, engine: ScriptedEngine) -> None:
    session.prompts.max_tokens = 1
    events = await held(session, "Hello")
    assert isinstance(events[-1], TurnClosed)
    assert events[-1].turn.reply is not None
    assert events[-1].turn.reply.state is ReplyState.LENGTH
    assert engine.requests[0].sampling == session.prompts.sampling


async def test_closing_while_a_reply_streams_keeps_it(engine: ScriptedEngine, path: Path) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.005
    session = Session(engine, HistoryStore.open(path))
    task = asyncio.create_task(held(session, "Hello"))
    await asyncio.sleep(0.2)
    await session.aclose()
    await session.aclose()
    await task
    [(_, [(text, state)])] = stored(path)
    assert text.startswith("word word")
    assert state is ReplyState.STOPPED


async def test_cancelled_again_while_the_reply_is_closed_it_is_closed_all_the_same(
    engine: ScriptedEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.script, engine.delay = lambda _: LONG, 0.005
    session = Session(engine, HistoryStore.open(path))
    close_reply, closing = session._store.close_reply, threading.Event()

    def slow(*arguments: Any, **options: Any) -> Reply:
        closing.set()
        time.sleep(0.3)  # a slow disk
        return close_reply(*arguments, **options)

    monkeypatch.setattr(session._store, "close_reply", slow)
    task = asyncio.create_task(held(session, "Hello"))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.to_thread(closing.wait)
    task.cancel()
    await session.aclose()
    [(_, [(text, state)])] = stored(path)
    assert text.startswith("word word")
    assert state is ReplyState.STOPPED


async def test_closing_ends_a_reply_that_will_not_stop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(ScriptedEngine):
        async def stop(self) -> None:
            """Hear nothing, and fail when the engine is ended."""

        async def aclose(self) -> None:
            self.fail_after, self.delay = self.written, 0.0
            await super().aclose()
            self._stop.clear()

        @property
        def written(self) -> int:
            return len(chat.conversation.turns[-1].replies[-1].text.split()) + 1

    monkeypatch.setattr("edgechat.session.session.CLOSE_SECONDS", 0.3)
    chat = Session(Stubborn(script=lambda _: LONG, delay=0.02), HistoryStore.open(path))
    task = asyncio.create_task(held(chat, "Hello"))
    await asyncio.sleep(0.2)
    await chat.aclose()
    with pytest.raises(EngineError):
        await task
    [(_, [(text, state)])] = stored(path)
    assert text.startswith("word word")
    assert state is ReplyState.STOPPED


async def test_a_store_that_fails_while_streaming_is_told_at_the_end(
    session: Session, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.script, engine.delay = lambda _: LONG[:200], 0.02
    full = StorageError("The disk is full", "history.db could not grow.", "Free some space.")

    def refuse(reply_id: int, text: str) -> None:
        raise full

    monkeypatch.setattr(session._store, "append_text", refuse)
    seen = ""
    with pytest.raises(StorageError, match="full"):
        async for event in session.send("Hello"):
            if isinstance(event, TextDelta):
                seen += event.text
    assert seen == LONG[:200]
    assert not session.busy


async def test_what_the_device_locks_no_chat_has_of_its_own(session: Session) -> None:
    session.locked = frozenset({"system", "temperature"})
    own = session.conversation
    with pytest.raises(ConfigError, match="temperature"):
        await session.chat.configure(own.system, ChatSettings(temperature=1.0))
    with pytest.raises(ConfigError, match="system"):
        await session.chat.configure("Be rude.", own.settings)
    await session.chat.configure(own.system, ChatSettings(seed=1))
    assert session.conversation.settings == ChatSettings(seed=1)


async def test_another_system_message_is_for_chats_that_have_not_begun(session: Session) -> None:
    session.chat.use_system("First.")
    assert session.conversation.system == "First."
    async for _ in session.send("hello"):
        pass
    session.chat.use_system("Second.")
    assert session.conversation.system == "First."
    session.new()
    assert session.conversation.system == "Second."


async def test_a_chat_that_was_begun_otherwise_obeys_what_is_locked_since(path: Path) -> None:
    before = Session(ScriptedEngine(), HistoryStore.open(path), system="Be rude.")
    await before.chat.configure("Be rude.", ChatSettings(temperature=1.5, max_tokens=1, seed=7))
    await held(before, "Hello")
    await before.aclose()
    engine, store = ScriptedEngine(), HistoryStore.open(path)
    session = Session(engine, store, conversation=store.latest(), system="Be kind.")
    session.locked = frozenset({"system", "temperature", "max_tokens"})
    await held(session, "And now?")
    await session.open(session.chat.id)
    await held(session, "And then?")
    for request in engine.requests:
        assert request.messages[0].content == "Be kind."
        assert (request.sampling.temperature, request.max_tokens) == (session.prompts.sampling.temperature, None)
        assert request.sampling.seed == 7
    await session.aclose()


async def test_what_happens_when_a_chat_is_full_can_be_locked(session: Session) -> None:
    session.choose_policy("oldest")
    assert session.context.policy == "oldest"
    session.locked = frozenset({"context_policy"})
    session.choose_policy("oldest")
    with pytest.raises(ConfigError, match="context_policy"):
        session.choose_policy("summarise")
    assert session.context.policy == "oldest"
