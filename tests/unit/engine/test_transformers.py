"""The transformers loop, in this process: what its cache holds over turns, and what comes out of a reply."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Finished, Progress, Request, Sampling, TextDelta
from edgechat.errors import EngineError, ModelError

if TYPE_CHECKING:
    from edgechat.engine.transformers import HfModel

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
    pytest.skip("needs the extra transformers", allow_module_level=True)
# What torch warns of while it is imported is not about this loop.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("default")]

HOSTILE = "<|im_end|> <|endoftext|>\n  שלום 日本語 \U0001f600"
GREEDY = Sampling(temperature=0, repetition_penalty=1)
HELLO = (Message("system", "Be brief."), Message("user", "Tell me of the river."))


def make_tiny(folder: Path, tokenizer: Path, **settings: object) -> Path:
    """A random model of two layers in single precision, which ends no reply by itself."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    fixed = {"num_key_value_heads": 2, "vocab_size": 49152, "max_position_embeddings": 4096, "bos_token_id": 1}
    kinds = (MistralConfig, MistralForCausalLM) if settings else (LlamaConfig, LlamaForCausalLM)
    config = kinds[0](**sizes, **fixed, eos_token_id=2, initializer_range=0.5, **settings)
    kinds[1](config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(default_hf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", default_hf)


@pytest.fixture(scope="module")
def model(tiny: Path) -> HfModel:
    from edgechat.engine.transformers import HfModel

    return HfModel(tiny, context=2048, threads=1)


def reply(
    model: HfModel,
    messages: Sequence[Message],
    *,
    sampling: Sampling = GREEDY,
    most: int | None = 30,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[str, Finished]:
    events = list(model.generate(Request(tuple(messages), sampling, most), stopped))
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


def fresh(model: HfModel, messages: Sequence[Message]) -> str:
    model._drop()
    text, finished = reply(model, messages)
    assert finished.usage.cached == 0
    return text


def after(calls: int) -> Callable[[], bool]:
    """A user who stops when asked that many times."""
    left = [calls]

    def stopped() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stopped


def test_a_reused_cache_writes_what_a_fresh_one_does(model: HfModel) -> None:
    """Over a repeat, a turn, an edited message, a stop in the middle, and a prompt that shares nothing."""
    first, _ = reply(model, HELLO)
    turn = (*HELLO, Message("assistant", first), Message("user", "And then?"))
    edited = (*turn[:-1], Message("user", "Now about a lighthouse keeper, and his many cats. " * 8))
    other = (Message("system", "You are a pirate."), Message("user", "Ahoy!"))
    for messages, least in ((HELLO, 20), (turn, 40), (edited, 40), (turn, 40), (other, 1), (HELLO, 1)):
        reply(model, turn, stopped=after(12))
        text, finished = reply(model, messages)
        assert finished.usage.cached >= least
        assert text == fresh(model, messages)


def test_a_window_that_slid_past_is_computed_anew(default_hf: Path, tmp_path: Path) -> None:
    from edgechat.engine.transformers import HfModel

    model = HfModel(make_tiny(tmp_path / "sliding", default_hf, sliding_window=32), context=1024, threads=1)
    long = (*HELLO, Message("assistant", "word " * 60), Message("user", "And then?"))
    reply(model, long)
    text, finished = reply(model, HELLO)
    assert finished.usage.cached == 0
    assert text == fresh(model, HELLO)


def test_what_cannot_be_taken_back_is_not_computed_ahead(default_hf: Path, tmp_path: Path) -> None:
    from edgechat.engine.transformers import HfModel

    model = HfModel(make_tiny(tmp_path / "sliding", default_hf, sliding_window=32), context=1024, threads=1)
    told, _ = reply(model, HELLO)
    chat = (*HELLO, Message("assistant", told))
    for written in ("And", "And then", "And then?"):
        list(model.prefill((*chat, Message("user", written))))
    _, finished = reply(model, (*chat, Message("user", "And then?")))
    assert finished.usage.cached >= finished.usage.prompt - 20


def test_every_token_is_counted_and_a_limit_is_exact(model: HfModel) -> None:
    for most in (0, 1, 2, 17):
        _, finished = reply(model, HELLO, most=most)
        assert (finished.reason, finished.usage.completion) == ("length", most)
    _, finished = reply(model, (Message("user", "word " * 1990),), most=None)
    assert (finished.reason, finished.usage.context) == ("length", 2048)


def test_a_stop_ends_it_within_two_tokens(model: HfModel) -> None:
    _, finished = reply(model, HELLO, most=500, stopped=after(10))
    assert finished.reason == "cancelled"
    assert finished.usage.completion <= 12


def test_a_stop_while_the_prompt_is_read_keeps_what_is_computed(model: HfModel) -> None:
    model._drop()
    long = (Message("user", "word " * 1000),)
    events = list(model.generate(Request(long, GREEDY, 5), after(3)))
    assert [event.done for event in events if isinstance(event, Progress)] == [64, 128, 192]
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage.completion) == ("cancelled", 0)
    assert reply(model, long, most=5)[1].usage.cached == 192


def test_a_reader_who_leaves_ends_the_reply(model: HfModel) -> None:
    events = model.generate(Request(HELLO, GREEDY, 1500))
    assert any(isinstance(event, TextDelta) for event in events)
    events.close()  # type: ignore[attr-defined]
    assert reply(model, HELLO)[0] == fresh(model, HELLO)


def test_text_is_whole_characters_and_what_the_tokens_say(model: HfModel) -> None:
    # Noise at a high temperature: bytes of many scripts, cut anywhere.
    for seed in range(8):
        text, finished = reply(model, HELLO, sampling=Sampling(temperature=2.0, top_p=1.0, seed=seed), most=60)
        assert finished.usage.completion > 0
        ids = list(model.codec._replies[text])
        assert len(ids) == finished.usage.completion
        whole = model._tokenizer.decode(ids, skip_special_tokens=True)
        assert whole.rstrip("\ufffd").startswith(text.rstrip("\ufffd")[:-1])
        assert not text.endswith("\ufffd")


def test_sampling_without_a_seed_differs_and_with_one_repeats(model: HfModel) -> None:
    hot = Sampling(temperature=1.5, top_p=1.0)
    assert len({reply(model, HELLO, sampling=hot)[0] for _ in range(3)}) == 3
    seeded = Sampling(temperature=1.5, top_p=1.0, seed=4)
    assert len({reply(model, HELLO, sampling=seeded)[0] for _ in range(3)}) == 1


def test_a_repetition_penalty_is_felt(model: HfModel) -> None:
    plain, _ = reply(model, HELLO, most=60)
    assert reply(model, HELLO, sampling=Sampling(temperature=0, repetition_penalty=1.9), most=60)[0] != plain


def test_the_default_model_says_what_its_onnx_form_says_of_a_prompt(default_hf: Path, default_genai: Path) -> None:
    from edgechat.engine.genai import GenaiModel
    from edgechat.engine.transformers import HfModel

    hf, genai = HfModel(default_hf, context=512), GenaiModel(default_genai, context=512)
    hostile = (*HELLO, Message("assistant", "Hm."), Message("user", HOSTILE))
    assert hf.encode(hostile) == genai.encode(hostile)
    assert (hf.form.name, hf._eos) == (genai.form.name, hf._eos & genai._eos)


def test_missing_weights_are_not_made_up(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from edgechat.engine.transformers import HfModel

    folder = shutil.copytree(tiny, tmp_path / "lacking")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 of its weights"):
        HfModel(folder)


def test_code_of_a_model_is_not_run(tiny: Path, tmp_path: Path) -> None:
    from edgechat.engine.transformers import HfModel

    folder = shutil.copytree(tiny, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "coded.Config", "AutoModelForCausalLM": "coded.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": names}))
    known = HfModel(folder, context=512, threads=1)
    assert type(known._model).__name__ == "LlamaForCausalLM"
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": names, "model_type": "of-nobody"}))
    with pytest.raises(ModelError, match="needs code"):
        HfModel(folder)


def test_a_conversation_that_cannot_fit_is_refused(model: HfModel) -> None:
    with pytest.raises(EngineError, match="longer than the context"):
        reply(model, (Message("user", "word " * 5000),))
