"""Going on with another model in the middle of a chat."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgechat.engine.protocol import ModelInfo
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import ConfigError, EngineError, ModelError
from edgechat.history.store import HistoryStore
from edgechat.models import speed_history
from edgechat.session.session import Session, TurnSaved

MORE = "one two three four five six seven eight nine ten"


class Engines:
    """Makes scripted engines, and knows which lives."""

    def __init__(self) -> None:
        self.made: list[tuple[str | None, ScriptedEngine]] = []
        self.fail: dict[str | None, ModelError] = {}
        self.slow: set[str] = set()

    def __call__(self, uri: str | None) -> ScriptedEngine:
        engine = ScriptedEngine(
            [f"{uri} {MORE}"], load_delay=30 if uri in self.slow else 0, fail_start=self.fail.get(uri)
        )
        self.made.append((uri, engine))
        return engine

    @property
    def living(self) -> list[str | None]:
        return [uri for uri, engine in self.made if not engine._closed]


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
async def session(engines: Engines, tmp_path: Path) -> Session:
    session = Session(engines("first"), HistoryStore.open(tmp_path / "h.db"), engine_of=engines, model_uri="first")
    await session.start()
    return session


async def said(session: Session, text: str) -> str:
    async for _event in session.send(text):
        pass
    reply = session.conversation.turns[-1].reply
    assert reply is not None
    return reply.text


async def begun_load(session: Session, engines: Engines) -> asyncio.Task[ModelInfo]:
    """A switch to a model that takes long to load, under way."""
    engines.slow.add("slow")
    task = asyncio.create_task(session.models.switch("slow"))
    while len(engines.made) < 2:
        await asyncio.sleep(0)
    return task


async def test_the_chat_goes_on_with_the_other_model(session: Session, engines: Engines) -> None:
    await said(session, "hello")
    await session.models.switch("second")
    assert session.models.uri == "second"
    assert engines.living == ["second"]
    assert await said(session, "again") == f"second {MORE}"
    assert [turn.user for turn in session.conversation.turns] == ["hello", "again"]
    assert [message.content for message in engines.made[-1][1].requests[0].messages][-3] == "hello"
    await session.aclose()


async def test_a_model_that_cannot_be_loaded_leaves_the_one_before(session: Session, engines: Engines) -> None:
    await said(session, "hello")
    engines.fail["broken"] = ModelError("Model is damaged")
    with pytest.raises(ModelError):
        await session.models.switch("broken")
    assert session.models.uri == "first"
    assert session.info is None
    assert engines.living == ["first"]
    assert await said(session, "again") == f"first {MORE}"
    await session.aclose()


async def test_a_load_that_is_given_up_leaves_the_one_before(session: Session, engines: Engines) -> None:
    task = await begun_load(session, engines)
    with pytest.raises(EngineError, match="Another model is being loaded"):
        await said(session, "meanwhile")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engines.living == ["first"]
    assert await said(session, "after") == f"first {MORE}"
    await session.aclose()


async def test_leaving_while_another_model_is_loaded(session: Session, engines: Engines) -> None:
    task = await begun_load(session, engines)
    await session.aclose()
    assert engines.living == []
    assert task.cancelled()


async def test_not_while_a_reply_is_written(session: Session) -> None:
    async for event in session.send("hello"):
        if isinstance(event, TurnSaved):
            with pytest.raises(EngineError, match="A reply is being written"):
                await session.models.switch("second")
    await session.aclose()


async def test_a_reply_is_measured(session: Session) -> None:
    await said(session, "hello")
    found = speed_history.measured("scripted")
    assert found is not None
    assert found[0] > 0
    await session.aclose()


async def test_a_device_that_decides_the_model_has_no_other(session: Session, engines: Engines) -> None:
    session.locked = frozenset({"model_uri"})
    for uri in ("second", None):
        with pytest.raises(ConfigError, match="model_uri"):
            await session.models.switch(uri)
    assert engines.living == ["first"]
    await session.models.switch("first")  # to load it anew
    assert await said(session, "hello") == f"first {MORE}"
    await session.aclose()


class SlowToEnd(ScriptedEngine):
    """Like a worker that takes its time to end."""

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)
        await super().aclose()


async def test_given_up_twice_there_is_still_the_one_before(tmp_path: Path) -> None:
    made: list[str | None] = []

    def engine_of(uri: str | None) -> ScriptedEngine:
        made.append(uri)
        return SlowToEnd([f"{uri} {MORE}"], load_delay=30 if uri == "slow" else 0)

    store = HistoryStore.open(tmp_path / "h.db")
    session = Session(engine_of("first"), store, engine_of=engine_of, model_uri="first")
    await session.start()
    task = asyncio.create_task(session.models.switch("slow"))
    while len(made) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.models.uri == "first"
    assert await said(session, "after") == f"first {MORE}"
    await session.aclose()
