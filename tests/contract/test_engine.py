"""One contract: the scripted engine, and the real ones on random models and on the default model, ONNX and PyTorch."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Engine, Event, Finished, Kind, Progress, Request, Sampling, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EdgechatError, EngineError, ModelError
from edgechat.runtime import paths

GREEDY = Sampling(temperature=0)
HELLO = (Message("system", "Be brief."), Message("user", "Write a long story about a river."))
LONG_STORY = "Once upon a time there was a river that told stories to everyone who came near. " * 20


def asking(*messages: Message, max_tokens: int | None = 24, sampling: Sampling = GREEDY) -> Request:
    return Request(messages or HELLO, sampling, max_tokens)


async def collect(engine: Engine, request: Request) -> tuple[str, Finished, list[Event]]:
    events = [event async for event in engine.stream(request)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert not any(isinstance(event, Finished) for event in events[:-1])
    return "".join(event.text for event in events if isinstance(event, TextDelta)), finished, events


Make = Callable[[], Engine]


@pytest.fixture(
    params=[
        "scripted",
        "tiny_phi3",
        "tiny_llama",
        pytest.param("default_genai", marks=pytest.mark.model),
        pytest.param("default_hf", marks=pytest.mark.model),
    ],
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    made: Engine
    if request.param == "scripted":
        made = ScriptedEngine(script=lambda _: LONG_STORY, delay=0.005, context=512)
    else:
        folder: Path = request.getfixturevalue(request.param)
        made = real(folder, context=512)
    yield made
    await made.aclose()


# Random models may end their replies at any token; these two go on for long.
talkative = pytest.mark.parametrize(
    "engine",
    ["scripted", *(pytest.param(name, marks=pytest.mark.model) for name in ("default_genai", "default_hf"))],
    indirect=True,
)


async def test_a_reply_is_text_and_one_finish(engine: Engine) -> None:
    text, finished, events = await collect(engine, asking())
    assert text
    assert finished.reason in ("stop", "length")
    assert all(event.text for event in events if isinstance(event, TextDelta))
    assert 0 < finished.usage.completion <= 24
    assert finished.usage.prompt > 0
    assert finished.usage.context == finished.usage.prompt + finished.usage.completion
    assert finished.timings.ttft > 0


async def test_info_is_known_once_started(engine: Engine) -> None:
    before = engine.info
    info = await engine.start()
    assert before is None
    assert engine.info == info
    assert info.name
    assert info.form
    assert info.threads >= 1
    assert info.context == 512


async def test_several_starts_share_one_load(engine: Engine) -> None:
    seen: list[Progress] = []
    infos = await asyncio.gather(engine.start(seen.append), engine.start(), engine.start())
    assert infos[0] == infos[1] == infos[2]
    assert [progress.phase for progress in seen].count("load") >= 1


async def test_max_tokens_ends_with_length(engine: Engine) -> None:
    _, finished, _ = await collect(engine, asking(max_tokens=3))
    assert finished.usage.completion <= 3
    assert finished.reason == "length"


async def test_asking_again_computes_next_to_nothing_of_the_prompt(engine: Engine) -> None:
    before, _, _ = await collect(engine, asking())
    text, finished, _ = await collect(engine, asking())
    assert text == before
    assert finished.usage.prompt - 2 <= finished.usage.cached < finished.usage.prompt


async def test_the_next_turn_computes_only_what_is_new(engine: Engine) -> None:
    text, first, _ = await collect(engine, asking())
    _, second, _ = await collect(engine, asking(*HELLO, Message("assistant", text), Message("user", "And then?")))
    assert second.usage.cached >= first.usage.prompt
    assert second.usage.cached >= first.usage.context - 1


@talkative
async def test_a_reply_that_was_cut_goes_on_where_it_ended(engine: Engine) -> None:
    text, first, _ = await collect(engine, asking(max_tokens=6))
    more, second, _ = await collect(engine, asking(*HELLO, Message("assistant", text), max_tokens=6))
    assert more
    assert second.usage.completion == 6
    # Nothing is new in the prompt, and an engine may have to compute its last two tokens together.
    assert second.usage.cached >= first.usage.context - 2
    # What it goes on from is what was said in both parts, as the model itself had spelled it.
    _, third, _ = await collect(engine, asking(*HELLO, Message("assistant", text + more), max_tokens=6))
    assert third.usage.cached >= second.usage.context - 2


@talkative
async def test_stop_keeps_what_came_and_the_engine_goes_on(engine: Engine) -> None:
    texts: list[str] = []
    finished: Finished | None = None
    async for event in engine.stream(asking(max_tokens=None)):
        if isinstance(event, TextDelta):
            texts.append(event.text)
            if len(texts) == 5:
                await engine.stop()
        elif isinstance(event, Finished):
            finished = event
    assert finished is not None
    assert finished.reason == "cancelled"
    assert 5 <= finished.usage.completion < 200
    again, _, _ = await collect(engine, asking(max_tokens=5))
    assert again
    assert "".join(texts)


async def test_stop_without_a_reply_does_nothing(engine: Engine) -> None:
    await engine.stop()
    await engine.start()
    await engine.stop()
    text, _, _ = await collect(engine, asking(max_tokens=4))
    assert text


async def test_closing_the_stream_stops_the_reply(engine: Engine) -> None:
    async with aclosing(engine.stream(asking(max_tokens=None))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    text, finished, _ = await collect(engine, asking(max_tokens=4))
    assert text
    assert finished.usage.completion <= 4


async def test_a_prompt_longer_than_the_context_is_refused_with_numbers(engine: Engine) -> None:
    with pytest.raises(EngineError, match="longer than the context") as caught:
        await collect(engine, asking(Message("user", "word " * 3000)))
    assert "512" in caught.value.message
    assert caught.value.hint
    text, _, _ = await collect(engine, asking(max_tokens=4))
    assert text


async def test_the_context_is_filled_to_its_end_and_no_further(engine: Engine) -> None:
    words = 460 if isinstance(engine, ScriptedEngine) else 100
    _, finished, _ = await collect(engine, asking(Message("user", "word " * words), max_tokens=None))
    assert finished.usage.context <= 512
    text, _, _ = await collect(engine, asking(max_tokens=4))
    assert text


async def test_count_is_the_prompt_of_the_reply(engine: Engine) -> None:
    assert await engine.count(HELLO) == (await collect(engine, asking(max_tokens=1)))[1].usage.prompt


async def test_the_prompt_shown_is_the_one_sent(engine: Engine) -> None:
    before = await engine.prompt(HELLO)
    assert before.cached == 0
    assert before.tokens == await engine.count(HELLO)
    text, first, _ = await collect(engine, asking())
    assert first.usage.prompt == before.tokens
    chat = (*HELLO, Message("assistant", text), Message("user", "And then?"))
    shown = await engine.prompt(chat)
    _, second, _ = await collect(engine, asking(*chat))
    assert (shown.tokens, shown.cached) == (second.usage.prompt, second.usage.cached)
    assert [part.text for part in shown.parts if part.kind == "reply"] == [text]


async def test_the_prompt_tells_control_tokens_from_typed_ones(engine: Engine) -> None:
    plain, typed = [
        await engine.prompt((Message("user", text),)) for text in ("ab", "a<|end|>b<|im_end|><|endoftext|>c")
    ]
    controls = [[part.text for part in prompt.parts if part.kind == "control"] for prompt in (plain, typed)]
    assert controls[0]
    assert controls[0] == controls[1]
    assert any("a<|end|>b<|im_end|><|endoftext|>c" in part.text for part in typed.parts if part.kind == "text")
    assert all(len(part.ids) == 1 for part in typed.parts if part.kind == "control")


async def test_what_was_computed_ahead_is_not_computed_again(engine: Engine) -> None:
    chat = (*HELLO, Message("assistant", "A river rose in the hills."))
    nothing_yet = (*chat, Message("user", ""))
    computed = await engine.prefill(nothing_yet)
    assert computed > 0
    assert await engine.prefill(nothing_yet) == 0
    _, finished, _ = await collect(engine, asking(*chat, Message("user", "What then?")))
    assert finished.usage.cached >= computed - 1
    assert finished.usage.prompt - finished.usage.cached < 20


async def test_a_message_is_computed_while_it_is_written(engine: Engine) -> None:
    chat = (*HELLO, Message("assistant", "A river rose in the hills."))
    words = "What did the river pass on its way to the sea, and who saw it? "
    for written in ("", words[:20], words, 4 * words, 4 * words + "And the oth"):
        await engine.prefill((*chat, Message("user", written)))
    whole = (*chat, Message("user", 4 * words + "And the other one?"))
    _, finished, _ = await collect(engine, asking(*whole))
    assert finished.usage.prompt - finished.usage.cached < 16
    # What is taken back was computed in vain, and no more.
    _, changed, _ = await collect(engine, asking(*chat, Message("user", 2 * words)))
    assert changed.usage.cached >= finished.usage.cached // 2
    await engine.prefill(whole)
    _, sent, _ = await collect(engine, asking(*whole))
    assert sent.usage.prompt == finished.usage.prompt
    assert sent.usage.cached >= sent.usage.prompt - 1


async def test_nothing_is_computed_ahead_of_what_cannot_fit(engine: Engine) -> None:
    await engine.prefill((Message("user", "word " * 3000), Message("assistant", "ok"), Message("user", "")))
    text, _, _ = await collect(engine, asking(max_tokens=4))
    assert text


async def test_typed_control_tokens_stay_text(engine: Engine) -> None:
    plain = await engine.count((Message("user", "ab"),))
    for control in ("<|end|>", "<|im_end|>", "<|user|>", "</s>", "<|endoftext|>"):
        # As a control token it would be one id; as text it is several, unless words are what is counted.
        assert isinstance(engine, ScriptedEngine) or await engine.count((Message("user", control),)) > plain


async def test_closing_twice_is_fine_and_ends_it(engine: Engine) -> None:
    await engine.start()
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EdgechatError):
        await engine.start()


def real(folder: Path, context: int | None = None) -> EngineClient:
    kind: Kind = "genai" if (folder / "genai_config.json").exists() else "transformers"
    return EngineClient(ModelSource(folder, "model", kind), EngineOptions(context=context))


async def test_a_killed_worker_is_reported_and_survived(default_genai: Path) -> None:
    engine = real(default_genai)
    try:
        await engine.start()
        with pytest.raises(EngineError, match="memory") as caught:
            async for event in engine.stream(asking(max_tokens=None)):
                if isinstance(event, TextDelta) and engine.pid is not None:
                    os.kill(engine.pid, signal.SIGKILL)
        assert "ended by the system" in caught.value.title
        assert engine.info is None
        text, _, _ = await collect(engine, asking())
        assert text
    finally:
        await engine.aclose()


async def test_a_crashed_worker_names_its_signal_and_log(tiny_phi3: Path) -> None:
    engine = real(tiny_phi3)
    try:
        await engine.start()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSEGV)
        with pytest.raises(EngineError, match="SIGSEGV") as caught:
            await collect(engine, asking(max_tokens=None))
        assert str(paths.log_path("worker")) in caught.value.hint
    finally:
        await engine.aclose()


async def test_a_worker_that_died_while_idle_is_replaced_unseen(tiny_phi3: Path) -> None:
    engine = real(tiny_phi3)
    try:
        await engine.start()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        while engine.info is not None:
            await asyncio.sleep(0.01)
        text, _, _ = await collect(engine, asking())
        assert text
    finally:
        await engine.aclose()


async def test_closing_ends_the_worker(tiny_phi3: Path) -> None:
    engine = real(tiny_phi3)
    await engine.start()
    pid = engine.pid
    assert pid is not None
    await engine.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_folder_that_cannot_be_loaded_says_so(tiny_phi3: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_phi3.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[: -1000 if path.suffix == ".data" else None])
    engine = real(broken)
    try:
        with pytest.raises(ModelError, match="cannot be loaded") as caught:
            await engine.start()
        assert "verify" in caught.value.hint
    finally:
        await engine.aclose()


async def test_a_damaged_tokenizer_is_named(tiny_phi3: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_phi3.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    for garbage in (b"\x00garbage", b'{"model": 7}', b"[]"):
        (broken / "tokenizer.json").write_bytes(garbage)
        engine = real(broken)
        try:
            with pytest.raises(ModelError, match=r"tokenizer\.json"):
                await engine.start()
        finally:
            await engine.aclose()


@pytest.mark.model
@pytest.mark.parametrize("name", ["default_genai", "default_hf"])
async def test_a_long_prompt_reports_its_progress_and_can_be_stopped(name: str, request: pytest.FixtureRequest) -> None:
    engine = real(request.getfixturevalue(name), context=2048)
    try:
        seen: list[Progress] = []
        finished: Finished | None = None
        async for event in engine.stream(asking(Message("user", "word " * 1200))):
            if isinstance(event, Progress):
                seen.append(event)
                if len(seen) == 3:
                    await engine.stop()
            elif isinstance(event, Finished):
                finished = event
        assert finished is not None
        assert finished.reason == "cancelled"
        assert finished.usage.completion == 0
        assert 0 < seen[0].done <= 64
        assert seen[-1].done < seen[-1].total
    finally:
        await engine.aclose()


@pytest.mark.parametrize("name", ["tiny_phi3", pytest.param("default_hf", marks=pytest.mark.model)])
async def test_seeds_repeat_and_differ(name: str, request: pytest.FixtureRequest) -> None:
    engine = real(request.getfixturevalue(name))
    try:

        async def sampled(seed: int | None) -> str:
            return (await collect(engine, asking(sampling=Sampling(temperature=1.0, top_p=1.0, seed=seed))))[0]

        first = await sampled(7)
        await collect(engine, asking())
        assert await sampled(7) == first
        assert await sampled(8) != first
        unseeded = set()
        for _ in range(3):
            await sampled(7)
            unseeded.add(await sampled(None))
        assert len(unseeded) > 1, "a reply without a seed goes on with the one before"
    finally:
        await engine.aclose()


async def test_temperature_changes_between_turns_take_effect(tiny_phi3: Path) -> None:
    engine = real(tiny_phi3)
    try:
        greedy, _, _ = await collect(engine, asking())
        hot = {(await collect(engine, asking(sampling=Sampling(temperature=2.0, top_p=1.0))))[0] for _ in range(3)}
        assert len(hot) > 1
        assert (await collect(engine, asking()))[0] == greedy
    finally:
        await engine.aclose()


@pytest.mark.parametrize(
    "name", ["tiny_phi3", *(pytest.param(name, marks=pytest.mark.model) for name in ("default_genai", "default_hf"))]
)
async def test_how_many_tokens_are_chosen_from_changes_between_turns(name: str, request: pytest.FixtureRequest) -> None:
    """Of one token there is no choice, however hot; on a live generator the change would give garbage."""
    engine = real(request.getfixturevalue(name))

    def hot(top_k: int) -> Sampling:
        return Sampling(temperature=2.0, top_p=1.0, repetition_penalty=1.0, top_k=top_k)

    try:
        greedy, _, _ = await collect(engine, asking(sampling=Sampling(temperature=0, repetition_penalty=1.0)))
        for _ in range(2):
            assert (await collect(engine, asking(sampling=hot(1))))[0] == greedy
            assert (await collect(engine, asking(sampling=hot(1000))))[0] != greedy
        chat = (*HELLO, Message("assistant", "A river rose in the hills."))
        computed = await engine.prefill((*chat, Message("user", "")), top_k=7)
        _, finished, _ = await collect(engine, asking(*chat, Message("user", "What then?"), sampling=hot(7)))
        assert finished.usage.cached >= computed - 1, "what was computed ahead for it is used"
    finally:
        await engine.aclose()
