"""Never computing twice, on the real default model: several chats, and computing ahead while other things are asked.

What was reused is read from the usage that the worker tells; `edgechat bench --turns` says what it is worth in time.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Finished, Request, Sampling, TextDelta
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EngineError
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session, TurnClosed

# One worker for all of them, and so one event loop.
pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]
GREEDY = Sampling(temperature=0)
SYSTEM = Message("system", "Be brief.")
NOTHING_YET = Message("user", "")


def client(folder: Path, cache_bytes: int, context: int = 2048) -> EngineClient:
    return EngineClient(ModelSource(folder, "default"), EngineOptions(context=context, cache_bytes=cache_bytes))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(default_genai: Path) -> AsyncIterator[EngineClient]:
    made = client(default_genai, cache_bytes=10**9)
    yield made
    await made.aclose()


async def reply(engine: EngineClient, chat: list[Message], most: int = 8) -> tuple[str, Finished]:
    text = ""
    async for event in engine.stream(Request(tuple(chat), GREEDY, most)):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Finished):
            return text, event
    raise AssertionError("a stream ends with Finished")


def long_chat(word: str) -> list[Message]:
    return [SYSTEM, Message("user", f"{word} " * 400)]


async def both_and_back(engine: EngineClient) -> tuple[Finished, Finished]:
    """Hold two long chats, and go on with the first: the end of its first reply, and of its second."""
    chat = long_chat("river")
    text, first = await reply(engine, chat)
    await reply(engine, long_chat("mountain"))
    _, again = await reply(engine, [*chat, Message("assistant", text), Message("user", "Go on.")])
    return first, again


async def test_a_recent_chat_is_gone_on_with_where_it_was(engine: EngineClient) -> None:
    first, again = await both_and_back(engine)
    assert (await engine.start()).cached_chats > 1
    assert again.usage.cached >= first.usage.context - 1


async def test_without_memory_for_it_only_the_last_chat_is_kept(default_genai: Path) -> None:
    alone = client(default_genai, cache_bytes=0)
    try:
        _, again = await both_and_back(alone)
        assert (await alone.start()).cached_chats == 1
        assert again.usage.cached < 50
    finally:
        await alone.aclose()


async def test_edits_other_replies_and_branches_share_their_beginning(engine: EngineClient) -> None:
    chat = long_chat("forest")
    text, first = await reply(engine, chat)
    branch = [*chat, Message("assistant", text), Message("user", "Where?")]
    _, second = await reply(engine, branch)
    _, edited = await reply(engine, [*branch[:-1], Message("user", "When was that?")])
    _, back = await reply(engine, branch)
    _, regenerated = await reply(engine, branch)
    assert edited.usage.cached >= first.usage.context - 1
    assert back.usage.cached >= first.usage.context - 1
    assert regenerated.usage.cached == second.usage.prompt - 2


async def test_a_message_that_was_computed_ahead_is_answered_as_any_other(engine: EngineClient) -> None:
    chat = [SYSTEM, Message("user", "Name a river, and say where it goes.")]
    text, at_once = await reply(engine, chat, 24)
    await engine.prefill((SYSTEM, Message("user", "Name a riv")))
    await engine.prefill(tuple(chat))
    assert (await engine.prompt(tuple(chat))).cached == at_once.usage.prompt
    assert await engine.prefill(tuple(chat)) == 0
    ahead, finished = await reply(engine, chat, 24)
    assert finished.usage.cached == finished.usage.prompt == at_once.usage.prompt
    assert ahead == text
    assert (await engine.prompt(tuple(chat))).cached < at_once.usage.prompt  # the reply has taken its place
    again, finished = await reply(engine, chat, 24)
    assert finished.usage.cached == finished.usage.prompt - 2
    assert again == text


async def test_what_is_written_is_read_before_it_is_sent(engine: EngineClient, tmp_path: Path) -> None:
    store = HistoryStore.open(tmp_path / "history.db")
    session = Session(engine, store, sampling=GREEDY, max_tokens=8)
    await session.start()
    for words in ("Name a river.", "And a lake?"):
        session.warm(words[:6])
        await asyncio.sleep(0.05)
        session.warm(words)
        async with asyncio.timeout(60):
            prompt = await session.prompts.parts(words)
            while prompt.cached < prompt.tokens:
                await asyncio.sleep(0.01)
                prompt = await session.prompts.parts(words)
        async with aclosing(session.send(words)) as events:
            told = [event async for event in events]
        assert isinstance(told[-1], TurnClosed)
        usage = told[-1].finished.usage
        assert usage.cached == usage.prompt > 0
        assert usage.completion > 0
    store.close()  # the engine stays, for the other tests


async def test_a_reply_does_not_wait_for_what_is_computed_ahead(engine: EngineClient) -> None:
    await engine.start()
    chat = [SYSTEM, Message("user", "desert " * 1500), Message("assistant", "Sand."), NOTHING_YET]
    ahead = asyncio.create_task(engine.prefill(tuple(chat)))
    await asyncio.sleep(0.05)
    _, finished = await reply(engine, [SYSTEM, Message("user", "Hello")])
    computed = await ahead
    assert computed < 1500
    assert finished.usage.completion > 0
    # What was computed by then is not lost, and the rest can be computed later.
    assert await engine.prefill(tuple(chat)) < 1520 - computed + 64
    assert await engine.prefill(tuple(chat)) == 0


async def test_questions_are_answered_in_between(engine: EngineClient) -> None:
    await engine.start()
    chat = (SYSTEM, Message("user", "ocean " * 900), Message("assistant", "Water."), NOTHING_YET)
    ahead = asyncio.create_task(engine.prefill(chat))
    await asyncio.sleep(0.02)
    assert await engine.count((SYSTEM, Message("user", "Hello"))) > 0
    assert not ahead.done()
    assert (await engine.prompt((SYSTEM, Message("user", "Hello")))).tokens > 0
    assert await ahead > 800


async def test_computing_ahead_can_be_given_up(engine: EngineClient) -> None:
    await engine.start()
    chat = (SYSTEM, Message("user", "tundra " * 1500), Message("assistant", "Ice."), NOTHING_YET)
    ahead = asyncio.create_task(engine.prefill(chat))
    await asyncio.sleep(0.02)
    ahead.cancel()
    await asyncio.wait({ahead})
    assert ahead.cancelled()
    assert (await engine.prompt((*chat[:-1], Message("user", "So?")))).cached < 1500


async def test_a_worker_that_dies_meanwhile_is_told(default_genai: Path) -> None:

    engine = client(default_genai, cache_bytes=0)
    try:
        await engine.start()
        ahead = asyncio.create_task(
            engine.prefill((Message("user", "word " * 1500), Message("assistant", "ok"), NOTHING_YET))
        )
        await asyncio.sleep(0.05)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="ended by the system"):
            await ahead
    finally:
        await engine.aclose()
