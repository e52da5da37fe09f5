"""How a reply ends in the store and in the chat that is held, whenever its reader leaves and whatever fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import Reply, ReplyState
from edgechat.engine.protocol import Event, Request, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import StorageError
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.db"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script=["One two.", "Three four."])


@pytest.fixture
async def session(engine: ScriptedEngine, path: Path) -> AsyncIterator[Session]:
    made = Session(engine, HistoryStore.open(path))
    yield made
    await made.aclose()


async def said(session: Session, text: str) -> None:
    async for _event in session.send(text):
        pass


async def gone_on(session: Session) -> None:
    async for _event in session.resume():
        pass


def replies(session: Session) -> list[tuple[str, ReplyState]]:
    return [(reply.text, reply.state) for turn in session.conversation.turns for reply in turn.replies]


def stored(path: Path) -> list[tuple[str, ReplyState]]:
    store = HistoryStore.open(path)
    try:
        chat = store.latest()
        assert chat is not None
        return [(reply.text, reply.state) for turn in chat.turns for reply in turn.replies]
    finally:
        store.close()


def slowed(monkeypatch: pytest.MonkeyPatch, store: HistoryStore, name: str) -> threading.Event:
    """Let a method take its time, as on a slow disk; set once it has begun."""
    method: Callable[..., Any] = getattr(store, name)
    begun = threading.Event()

    def slow(*arguments: Any, **named: Any) -> Any:
        begun.set()
        time.sleep(0.2)
        return method(*arguments, **named)

    monkeypatch.setattr(store, name, slow)
    return begun


async def cancelled_in(begun: threading.Event, task: asyncio.Task[None]) -> None:
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_the_store_takes_its_beginning_it_is_closed(
    session: Session, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = slowed(monkeypatch, session._store, "add_reply")
    await cancelled_in(begun, asyncio.create_task(said(session, "Hello")))
    assert replies(session) == stored(path) == [("", ReplyState.STOPPED)]


async def test_cancelled_while_it_is_taken_up_again_it_can_be_gone_on_with(
    session: Session, engine: ScriptedEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.prompts.max_tokens = 1
    await said(session, "Hello")
    session.prompts.max_tokens = None
    with monkeypatch.context() as patched:
        begun = slowed(patched, session._store, "resume_reply")
        await cancelled_in(begun, asyncio.create_task(gone_on(session)))
    assert replies(session) == stored(path) == [("One ", ReplyState.STOPPED)]
    engine.script = ["two."]
    await gone_on(session)
    assert replies(session) == stored(path) == [("One two.", ReplyState.COMPLETE)]


async def test_cancelled_while_it_is_closed_the_chat_has_it_all_the_same(
    session: Session, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = slowed(monkeypatch, session._store, "close_reply")
    await cancelled_in(begun, asyncio.create_task(said(session, "Hello")))
    assert replies(session) == stored(path) == [("One two.", ReplyState.COMPLETE)]


class Faulty(ScriptedEngine):
    """Fails as nobody foresaw."""

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        yield TextDelta("One ")
        raise RuntimeError(f"something about {request.messages[-1].content}")


async def test_a_fault_that_nobody_foresaw_ends_it_and_quotes_nothing(path: Path) -> None:
    session = Session(Faulty(), HistoryStore.open(path))
    with pytest.raises(RuntimeError):
        await said(session, "a secret")
    assert replies(session) == stored(path) == [("One ", ReplyState.FAILED)]
    reply = session.conversation.turns[0].reply
    assert reply is not None
    assert "RuntimeError" in reply.error
    assert "secret" not in reply.error
    await session.aclose()


async def test_what_the_store_could_not_close_is_still_in_the_chat(
    session: Session, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any, **_named: Any) -> Reply:
        raise StorageError("Disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(session._store, "close_reply", full)
        with pytest.raises(StorageError, match="full"):
            await said(session, "Hello")
    assert replies(session) == [("One two.", ReplyState.INTERRUPTED)]
    await said(session, "And now?")
    assert [message.content for message in engine.requests[-1].messages] == ["Hello", "One two.", "And now?"]
