"""The reply runner without a session: what it yields, stores and leaves behind, on the scripted engine."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.engine.protocol import Event, Request, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError
from edgechat.history.store import HistoryStore
from edgechat.session.activity import Activity
from edgechat.session.context_manager import ContextManager
from edgechat.session.current_chat import CurrentChat
from edgechat.session.current_model import CurrentModel
from edgechat.session.events import SessionEvent, TurnClosed, TurnSaved
from edgechat.session.prompt_builder import PromptBuilder
from edgechat.session.reply_runner import ReplyRunner
from edgechat.session.session import Session
from edgechat.session.setting_locks import SettingLocks
from edgechat.session.turn_preparer import ReplyTask


@dataclass
class Parts:
    """A runner and what it is composed of."""

    engine: ScriptedEngine
    store: HistoryStore
    activity: Activity
    chat: CurrentChat
    runner: ReplyRunner

    async def asked(self) -> ReplyTask:
        """A question, saved at the end of the chat."""
        return ReplyTask(await self.chat.add_turn("Hello", len(self.chat.committed.turns), "scripted"))


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    engine, store = ScriptedEngine(["One two.", "Three four."]), HistoryStore.open(tmp_path / "h.db")
    model, activity = CurrentModel(engine), Activity()
    chat = CurrentChat(store, activity, SettingLocks())
    context = ContextManager(model)
    prompts = PromptBuilder(model, chat, context, activity)
    yield Parts(engine, store, activity, chat, ReplyRunner(model, store, chat, context, prompts, activity))
    await engine.aclose()
    store.close()


def stored(parts: Parts) -> list[tuple[str, ReplyState]]:
    turns = parts.store.conversation(parts.chat.id).turns
    return [(reply.text, reply.state) for turn in turns for reply in turn.replies]


async def all_of(parts: Parts) -> list[SessionEvent]:
    return [event async for event in parts.runner.run(parts.asked)]


async def test_a_turn_is_saved_then_written_then_closed(parts: Parts) -> None:
    first, *deltas, last = await all_of(parts)
    assert isinstance(first, TurnSaved)
    assert first.turn.replies == ()
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == "One two."
    assert isinstance(last, TurnClosed)
    assert stored(parts) == [("One two.", ReplyState.COMPLETE)]
    assert parts.chat.committed.turns == (last.turn,)


class Watched(ScriptedEngine):
    """Notes which asynchronous generators each of its events passes."""

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        async for event in super().stream(request):
            frame: FrameType | None = sys._getframe()
            self.passed: list[str] = []
            while frame is not None:
                if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR:
                    self.passed.append(frame.f_code.co_qualname)
                frame = frame.f_back
            yield event


async def test_a_token_passes_one_generator_on_its_way_from_the_engine_to_the_reader(tmp_path: Path) -> None:
    engine = Watched(["One two."])
    session = Session(engine, HistoryStore.open(tmp_path / "h.db"))
    for events in (session.send("Hello"), session.regenerate()):
        async for event in events:
            if isinstance(event, TextDelta):
                assert engine.passed == ["Watched.stream", "ReplyRunner.run"]
    await session.aclose()


async def test_the_chat_shows_the_text_so_far_and_then_the_reply(parts: Parts) -> None:
    seen = ""
    async for event in parts.runner.run(parts.asked):
        if isinstance(event, TextDelta):
            seen += event.text
            live = parts.chat.conversation.turns[-1].reply
            assert live is not None
            assert (live.text, live.state) == (seen, ReplyState.STREAMING)
            assert parts.chat.committed.turns[-1].replies == ()
        elif isinstance(event, TurnClosed):
            assert parts.chat.conversation.turns == (event.turn,)


async def test_a_turn_that_cannot_be_prepared_leaves_the_session_idle(parts: Parts) -> None:
    async def refused() -> ReplyTask:
        assert parts.activity.busy
        raise EngineError("The message is empty")

    with pytest.raises(EngineError, match="empty"):
        async for _event in parts.runner.run(refused):
            pass
    assert not parts.activity.busy
    assert isinstance((await all_of(parts))[-1], TurnClosed)


async def test_nothing_is_prepared_while_another_reply_is_written(parts: Parts) -> None:
    async with aclosing(parts.runner.run(parts.asked)) as events:
        await anext(events)
        with pytest.raises(EngineError, match="being written"):
            await all_of(parts)
    assert len(parts.store.conversation(parts.chat.id).turns) == 1
    assert not parts.activity.busy


async def test_nothing_is_prepared_before_another_chat_is_open(parts: Parts) -> None:
    async with parts.chat.changing:
        running = asyncio.create_task(all_of(parts))
        await asyncio.sleep(0.05)
        assert not parts.activity.busy
        assert parts.chat.id == 0
    assert isinstance((await running)[-1], TurnClosed)


@pytest.mark.parametrize(("leaving", "state"), [(False, ReplyState.FAILED), (True, ReplyState.STOPPED)])
async def test_an_engine_that_is_ended_on_leaving_has_not_failed(
    parts: Parts, leaving: bool, state: ReplyState
) -> None:
    parts.engine.fail_after, parts.runner.leaving = 1, leaving
    with pytest.raises(EngineError, match="ended"):
        await all_of(parts)
    assert stored(parts) == [("One ", state)]
    assert not parts.activity.busy


async def test_a_stop_ends_the_reply_and_not_the_next_one(parts: Parts) -> None:
    async for event in parts.runner.run(parts.asked):
        if isinstance(event, TextDelta) and not parts.activity.stop_requested():
            await parts.runner.stop()
    await all_of(parts)
    assert stored(parts) == [("One ", ReplyState.STOPPED), ("Three four.", ReplyState.COMPLETE)]
