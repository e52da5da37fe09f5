"""What a session does about the context: what it sends, tells, computes ahead and shows. A token is a word here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgechat.chat.context_window import ContextFullError, Policy
from edgechat.chat.conversation import Message, ReplyState
from edgechat.engine.protocol import Progress, Request, Sampling, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EngineError, RequestError
from edgechat.history.store import HistoryStore
from edgechat.session.context_manager import WindowMoved
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved

LONG = "word " * 60
LONGER = "word " * 80


def answer(request: Request) -> str:
    """Twenty words, or a summary where one is asked for."""
    return "They counted words." if "Sum up" in request.messages[-1].content else "reply " * 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(answer, context=330)


@pytest.fixture
async def session(engine: ScriptedEngine, path: Path) -> AsyncIterator[Session]:
    """A chat of three turns, 258 of the 330 tokens in use."""
    made = Session(engine, HistoryStore.open(path), system="Be brief.")
    await made.start()
    for number in range(3):
        await held(made, f"m{number} {LONG}")
    yield made
    await made.aclose()


async def held(session: Session, text: str) -> list[SessionEvent]:
    return [event async for event in session.send(text)]


def sent(engine: ScriptedEngine) -> list[str]:
    """The first words of what the model was sent last."""
    return [message.content.split()[0] for message in engine.requests[-1].messages]


def kept(path: Path) -> list[str]:
    store = HistoryStore.open(path)
    try:
        chat = store.latest()
        assert chat is not None
        return [turn.user.split()[0] for turn in chat.turns]
    finally:
        store.close()


async def test_a_full_chat_is_told_before_the_message_is_taken(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    with pytest.raises(ContextFullError) as caught:
        await held(session, f"m3 {LONGER}")
    assert [turn.user.split()[0] for turn in caught.value.turns] == ["m0", "m1"]
    assert len(engine.requests) == 3
    assert kept(path) == ["m0", "m1", "m2"]
    assert not session.busy
    await held(session, "short")
    assert sent(engine)[1] == "m0", "what still fits is sent whole"


async def test_the_oldest_turns_are_left_out_of_the_prompt_alone(
    session: Session, engine: ScriptedEngine, path: Path
) -> None:
    session.context.policy = "oldest"
    events = await held(session, f"m3 {LONGER}")
    moved = [event for event in events if isinstance(event, WindowMoved)]
    assert [[turn.user.split()[0] for turn in move.turns] for move in moved] == [["m0", "m1"]]
    assert sent(engine) == ["Be", "m2", "reply", "m3"]
    assert kept(path) == ["m0", "m1", "m2", "m3"]
    assert len(session.conversation.turns) == 4
    # The window stays where it is while the chat fits, so that nothing is computed again.
    again = await held(session, "m4")
    assert not [event for event in again if isinstance(event, WindowMoved)]
    assert sent(engine) == ["Be", "m2", "reply", "m3", "reply", "m4"]


async def test_pinned_turns_are_always_sent(session: Session, engine: ScriptedEngine) -> None:
    session.context.policy = "oldest"
    await session.chat.pin_turn(session.conversation.turns[0].id, True)
    await held(session, f"m3 {LONGER}")
    assert sent(engine) == ["Be", "m0", "reply", "m3"]


async def test_the_oldest_turns_are_summed_up(session: Session, engine: ScriptedEngine, path: Path) -> None:
    session.context.policy = "summarise"
    events = await held(session, f"m3 {LONGER}")
    assert [event.phase for event in events if isinstance(event, Progress)] == ["summarise"]
    assert [event.summary for event in events if isinstance(event, WindowMoved)] == ["They counted words."]
    asked = engine.requests[-2]
    assert [message.content.split()[0] for message in asked.messages] == ["Be", "m0", "reply", "m1", "reply", "Sum"]
    assert engine.requests[-1].messages[0].content.endswith("in short: They counted words.")
    assert sent(engine) == ["Be", "m2", "reply", "m3"]
    assert kept(path) == ["m0", "m1", "m2", "m3"]
    assert session.conversation.system == "Be brief."
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "reply " * 20


async def test_windows_and_pins_outlive_the_program(session: Session, engine: ScriptedEngine, path: Path) -> None:
    session.context.policy = "summarise"
    await session.chat.pin_turn(session.conversation.turns[1].id, True)
    await held(session, f"m3 {LONGER}")
    assert sent(engine) == ["Be", "m1", "reply", "m3"]
    await session.aclose()
    store = HistoryStore.open(path)
    chat = store.latest()
    assert chat is not None
    copy = store.chats.duplicate(chat.id)
    engine = ScriptedEngine(answer, context=330)
    again = Session(engine, store, conversation=chat)
    await again.start()
    await held(again, "short")
    assert sent(engine) == ["Be", "m1", "reply", "m3", "reply", "short"]
    assert engine.requests[-1].messages[0].content.endswith("in short: They counted words.")
    await again.open(copy)
    await held(again, "in the copy")
    assert sent(engine) == ["Be", "m1", "reply", "m3", "reply", "in"]
    before_it_moved = again.conversation.turns[2].id
    [_ async for _ in again.edit(before_it_moved, "edited")]
    assert sent(engine) == ["Be", "m0", "reply", "m1", "reply", "edited"], "the window is of the other branch"
    await again.aclose()


async def test_a_second_summary_stands_on_the_first(session: Session, engine: ScriptedEngine) -> None:
    session.context.policy = "summarise"
    for number in range(3, 8):
        await held(session, f"m{number} {LONG}")
    summaries = [request for request in engine.requests if "Sum up" in request.messages[-1].content]
    assert len(summaries) > 1
    assert "They counted words." in summaries[1].messages[0].content
    assert engine.requests[-1].messages[0].content.count("They counted words.") == 1


async def test_a_summary_can_be_stopped(session: Session, engine: ScriptedEngine) -> None:
    session.context.policy = "summarise"
    engine.delay = 0.05
    engine.script = lambda _: "sum " * 100
    events = []
    async for event in session.send(f"m3 {LONGER}"):
        events.append(event)
        if isinstance(event, Progress):
            asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(session.stop()))
    closed = events[-1]
    assert isinstance(closed, TurnClosed)
    assert closed.turn.reply is not None
    assert closed.turn.reply.state is ReplyState.STOPPED
    assert not [event for event in events if isinstance(event, WindowMoved)]
    assert "Sum up" in engine.requests[-1].messages[-1].content


async def test_a_message_too_long_by_itself_is_told_as_such(session: Session) -> None:
    policies: tuple[Policy, ...] = ("ask", "oldest", "summarise")
    for policy in policies:
        session.context.policy = policy
        with pytest.raises(RequestError, match="longer than the context") as caught:
            await held(session, "word " * 400)
        assert not isinstance(caught.value, ContextFullError)


async def test_a_full_chat_opened_anew_is_told_once_the_model_is_there(session: Session, path: Path) -> None:
    await session.aclose()
    store = HistoryStore.open(path)
    again = Session(ScriptedEngine(answer, context=330), store, conversation=store.latest())
    events: list[SessionEvent] = []
    with pytest.raises(ContextFullError):
        async for event in again.send(f"m3 {LONGER}"):
            events.append(event)
    assert [type(event) for event in events] == [TurnSaved]
    last = again.conversation.turns[-1].reply
    assert last is not None
    assert last.state is ReplyState.FAILED
    assert "no longer fits" in last.error
    again.context.policy = "oldest"
    await held(again, f"m3 {LONGER}")
    assert again.conversation.turns[-1].reply is not None
    await again.aclose()


async def test_a_message_that_cannot_be_counted_is_kept_all_the_same(
    session: Session, engine: ScriptedEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(messages: tuple[Message, ...]) -> int:
        raise EngineError("The model process ended", "Its exit code was 1.")

    monkeypatch.setattr(engine, "count", died)
    with pytest.raises(EngineError, match="process ended"):
        await held(session, f"m3 {LONGER}")
    assert kept(path)[-1] == "m3"


async def test_fullness_is_told(session: Session, engine: ScriptedEngine) -> None:
    assert session.context_used == 258
    assert session.context_words == ""
    await held(session, "short")
    assert f"{session.context_used} of 330 tokens" in session.context_words
    session.new()
    assert session.context_words == ""


async def test_what_comes_into_view_is_computed_ahead(session: Session, engine: ScriptedEngine, path: Path) -> None:
    await session.aclose()
    store = HistoryStore.open(path)
    fresh = ScriptedEngine(answer, context=4096)
    again = Session(fresh, store, conversation=store.latest(), system="Be kind.")
    await again.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [[message.content[:2] for message in ahead] for ahead in fresh.prefills] == [
        ["Be", "m0", "re", "m1", "re", "m2", "re", ""]
    ]
    closed = (await held(again, "short"))[-1]
    assert isinstance(closed, TurnClosed)
    assert closed.finished.usage.cached == 260
    again.new()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [message.content for message in fresh.prefills[-1]] == ["Be kind.", ""]
    again.prompts.sampling = Sampling(seed=7)  # begins from nothing each time
    again.new()
    await asyncio.sleep(0)
    assert len(fresh.prefills) == 2
    await again.aclose()


async def test_the_prompt_of_the_last_reply_and_of_a_draft(session: Session) -> None:
    reply = session.conversation.turns[-1].reply
    assert reply is not None
    last = await session.prompts.parts()
    assert (last.tokens, last.cached) == (reply.prompt_tokens, reply.cached_tokens)
    draft = await session.prompts.parts("What now?")
    assert [part.text for part in draft.parts if part.kind == "text"][-1] == "What now?"
    assert draft.cached == session.context_used
    session.new()
    assert [part.text for part in (await session.prompts.parts()).parts if part.kind == "text"] == ["Be brief.", ""]


@pytest.mark.model
@pytest.mark.parametrize("policy", ["oldest", "summarise"])
async def test_a_real_model_goes_on_past_its_context(path: Path, default_genai: Path, policy: Policy) -> None:
    client = EngineClient(ModelSource(default_genai, "default"), EngineOptions(context=512))
    session = Session(
        client,
        HistoryStore.open(path),
        system="Be brief.",
        sampling=Sampling(temperature=0),
        max_tokens=60,
        context_policy=policy,
    )
    try:
        moves: list[WindowMoved] = []
        for number in range(6):
            events = await held(session, f"My number {number} is {number * 7}. Tell me a story about a river. " * 5)
            moves += [event for event in events if isinstance(event, WindowMoved)]
            closed = events[-1]
            assert isinstance(closed, TurnClosed)
            assert closed.finished.usage.context <= 512
        assert moves
        assert all(bool(move.summary) is (policy == "summarise") for move in moves)
        assert len(kept(path)) == 6
        shown = await session.prompts.parts()
        assert session.conversation.turns[-1].reply is not None
        assert shown.tokens == session.conversation.turns[-1].reply.prompt_tokens
        assert not [part for part in shown.parts if part.kind == "text" and "My number 0" in part.text]
    finally:
        await session.aclose()


@pytest.mark.model
async def test_a_real_chat_opened_again_is_computed_while_the_user_writes(path: Path, default_genai: Path) -> None:
    source, options = ModelSource(default_genai, "default"), EngineOptions(context=1024)
    first = Session(EngineClient(source, options), HistoryStore.open(path), system="Be brief.", max_tokens=8)
    await held(first, "Tell me of rivers. " * 60)
    await first.aclose()
    store = HistoryStore.open(path)
    again = Session(EngineClient(source, options), store, conversation=store.latest(), max_tokens=8)
    try:
        await again.start()
        assert again._warmer._task is not None
        await again._warmer._task
        closed = (await held(again, "And of lakes?"))[-1]
        assert isinstance(closed, TurnClosed)
        usage = closed.finished.usage
        assert usage.cached > 240
        assert usage.prompt - usage.cached < 16
    finally:
        await again.aclose()


async def test_a_longer_system_message_counts(path: Path) -> None:
    engine = ScriptedEngine(answer, context=2000)
    session = Session(engine, HistoryStore.open(path), system="Be brief.", context_policy="oldest")
    for number in range(3):
        await held(session, f"m{number} {LONGER}")
    await session.chat.configure("Be brief. " * 850, session.conversation.settings)  # with all that was said, too much
    assert isinstance((await held(session, "more"))[-1], TurnClosed)
    assert "m0" not in sent(engine)
    await session.aclose()
