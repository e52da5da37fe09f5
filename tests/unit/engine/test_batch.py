"""Batches: each row is the reply its prompt would get by itself, as far as the kernels agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.batch import ROWS, choose_padding
from edgechat.engine.detokenizer import collect
from edgechat.engine.genai import GenaiModel
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import Request, Sampling
from edgechat.errors import RequestError

QUESTIONS = ["What is 2+2?", "Who wrote Hamlet?", "Hi", "Name the capital city of France, and nothing else, please."]


def asking(text: str, max_tokens: int | None = 16, **options: object) -> Request:
    sampling = Sampling(temperature=0, repetition_penalty=1.0, seed=options.pop("seed", None))  # type: ignore[arg-type]
    return Request((Message("user", text),), sampling, max_tokens, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(default_genai: Path) -> GenaiModel:
    return GenaiModel(default_genai, context=1024)


@pytest.fixture
def batches(model: GenaiModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches written in this test."""
    sizes: list[int] = []
    write = model._batch.write

    def counted(prompts: list[list[int]], requests: list[Request]) -> object:
        sizes.append(len(prompts))
        return write(prompts, requests)

    monkeypatch.setattr(model._batch, "write", counted)
    return sizes


@pytest.mark.model
def test_rows_of_different_lengths_begin_as_alone(model: GenaiModel, batches: list[int]) -> None:
    together = model.generate_batch([asking(text) for text in QUESTIONS])
    alone = [collect(model.generate(asking(text))) for text in QUESTIONS]
    assert batches == [4]
    # Kernels for one row and for several round differently, so later words may differ; wrong positions would show in
    # the first. tests/unit/engine/test_genai.py says more of this.
    for (text, end), (other, other_end) in zip(together, alone, strict=True):
        assert text[:6] == other[:6]
        assert end.usage.prompt == other_end.usage.prompt
        assert end.reason in ("stop", "length")
        assert 0 < end.usage.completion <= 16


@pytest.mark.model
def test_equal_rows_give_equal_replies(model: GenaiModel) -> None:
    texts = [text for text, _ in model.generate_batch([asking("Tell me of a river.")] * 3)]
    assert texts[0] == texts[1] == texts[2] != ""


@pytest.mark.model
def test_limits_and_stops_hold_for_each_row(model: GenaiModel, batches: list[int]) -> None:
    story = "Tell me of a river."
    whole, five, cut = model.generate_batch(
        [asking(story, 30), asking(story, 5), asking(story, 30, stop=("river", "River"))]
    )
    assert batches == [3]
    assert (five[1].reason, five[1].usage.completion) == ("length", 5)
    assert whole[0].startswith(five[0])
    assert cut[1].reason == "stop"
    assert "river" in whole[0].lower()
    assert "river" not in cut[0].lower()


@pytest.mark.model
def test_seeds_and_open_ends_are_written_one_by_one(model: GenaiModel, batches: list[int]) -> None:
    seeded = model.generate_batch([asking("Hi", 4, seed=1)] * 2)
    assert seeded[0][0] == seeded[1][0]
    model.generate_batch([asking("What is 2+2?", None)] * 2)
    assert batches == []


@pytest.mark.model
def test_large_batches_are_split_by_rows_and_by_context(model: GenaiModel, batches: list[int]) -> None:
    model.generate_batch([asking("Hi", 1)] * (2 * ROWS + 1))
    assert batches == [ROWS, ROWS]
    batches.clear()
    model.generate_batch([asking("Hi", 400)] * 2 + [asking("word " * 300, 4)] * 2)
    assert batches == [2, 2]


@pytest.mark.model
def test_one_prompt_too_long_stops_all_before_anything_is_written(model: GenaiModel, batches: list[int]) -> None:
    with pytest.raises(RequestError, match="longer than the context"):
        model.generate_batch([asking("Hi"), asking("Hi"), asking("word " * 2000)])
    assert batches == []


@pytest.mark.model
def test_a_chat_goes_on_after_a_batch(model: GenaiModel) -> None:
    model.generate_batch([asking("Hi")] * 2)
    text, end = collect(model.generate(asking("What is 2+2?")))
    assert text
    assert end.usage.cached == 0


def test_random_phi3_models_batch_too(tiny_phi3: Path) -> None:
    model = GenaiModel(tiny_phi3, context=256)
    replies = model.generate_batch([asking("Hello", 4), asking("Hello there, how are you?", 4)])
    assert all(0 < end.usage.completion <= 4 or end.reason == "stop" for _, end in replies)


class TestFiller:
    """The token that fills up shorter rows."""

    def test_it_is_in_no_prompt(self, model: GenaiModel, default_genai: Path) -> None:
        padding = choose_padding(default_genai, {"model": {"eos_token_id": [2, 0], "bos_token_id": 1}}, model.codec)
        assert padding in model.codec.control_ids.values()
        assert padding not in {0, 1, 2}
        assert padding not in model.encode((Message("system", "a"), Message("user", "b"), Message("assistant", "c")))

    def test_ids_beyond_the_tokenizer_are_best(self, tiny_llama: Path) -> None:
        codec = TokenCodec(tiny_llama)
        assert (
            choose_padding(tiny_llama, {"model": {"vocab_size": codec.vocabulary + 5}}, codec) == codec.vocabulary + 4
        )

    def test_positions_as_inputs_forbid_it(self, tiny_llama: Path) -> None:
        config = {"model": {"decoder": {"inputs": {"position_ids": "position_ids"}}}}
        assert choose_padding(tiny_llama, config, TokenCodec(tiny_llama)) is None
