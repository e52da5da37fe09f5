"""Configurations as onnxruntime-genai's own builder writes them: every text model of it is opened as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime_genai as og
import pytest

from edgechat.models.folder import open_model
from edgechat.models.genai_schema import ROOT, ListOf, MapOf, Number, OneOf, Rule, Text, fault_in

# The text decoders among the types that version 0.18 knows.
TYPES = [
    *("chatglm", "decoder", "ernie4_5", "gemma", "gemma2", "gemma3_text", "gpt2", "gptoss", "granite", "exaone4"),
    *("hunyuan_v1_dense", "internlm2", "lfm2", "llama", "mistral", "nemotron", "olmo", "olmo2", "phi", "phi3"),
    *("phi3small", "phimoe", "qwen2", "qwen3", "smollm3"),
]


def built(kind: str) -> dict[str, Any]:
    """What the builder's `make_genai_config` writes for a model of this type."""
    decoder: dict[str, Any] = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": 128,
        "hidden_size": 4096,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": 32,
        "num_hidden_layers": 4,
        "num_key_value_heads": 8,
    }
    model: dict[str, Any] = {
        "bos_token_id": 1,
        "context_length": 131072,
        "decoder": decoder,
        "eos_token_id": [1, 106],
        "pad_token_id": 0,
        "type": kind,
        "vocab_size": 262144,
    }
    search = {
        "diversity_penalty": 0.0,
        "do_sample": True,
        "early_stopping": True,
        "length_penalty": 1.0,
        "max_length": 131072,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "past_present_share_buffer": True,
        "repetition_penalty": 1.0,
        "temperature": 0.6,
        "top_k": 20,
        "top_p": 0.95,
    }
    match kind:
        case "phi3" | "mistral" | "gemma2" | "gemma3_text" | "gptoss":
            decoder["sliding_window"] = {
                "window_size": 2047,
                "slide_key_value_cache": False,
                "slide_inputs": False,
                "layers": [0, 2],
                "cache_slack": 16,
            }
        case "lfm2":
            decoder |= {"layer_types": ["conv", "full_attention", "conv", "conv"], "conv_cache_size": 2}
            decoder["inputs"]["past_conv_names"] = "past.%d.conv"
            decoder["outputs"]["present_conv_names"] = "present.%d.conv"
        case "qwen2":
            decoder["inputs"] |= {"position_ids": "position_ids", "inputs_embeds": "inputs_embeds"}
            model |= {"bot_token_id": 5, "eot_token_id": 6, "eos_token_id": 151645}
            decoder["session_options"]["session.use_device_allocator_for_initializers"] = "1"
        case "phi":
            search |= {"chunk_size": 256, "top_k": 50}
            decoder["session_options"]["provider_options"] = [{"cuda": {"enable_cuda_graph": "0"}}]
        case "olmo":
            decoder["session_options"]["provider_options"] = [
                {"webgpu": {"enableGraphCapture": "0", "validationMode": "basic"}},
                {"dml": {"enable_graph_capture": "1"}},
                {"NvTensorRtRtx": {"enable_cuda_graph": "1"}},
                {"cpu": {}},
            ]
    return {"model": model, "search": search}


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_builder_writes_is_opened(tmp_path: Path, make_genai: Callable[..., Path], kind: str) -> None:
    folder = make_genai(tmp_path / "m")
    (folder / "genai_config.json").write_text(json.dumps(built(kind), indent=4))
    assert open_model(folder).architecture == kind
    og.Config(str(folder))  # it is what the engine takes, too


def parts(rule: Rule, wrapped: Callable[[Any], Any] = lambda value: value) -> Iterator[tuple[Any, Rule]]:
    """Each leaf of the schema, and a document with nothing in it but that leaf."""
    match rule:
        case OneOf():
            for one in rule.rules:
                yield from parts(one, wrapped)
        case ListOf():
            yield from parts(rule.each, lambda value: wrapped([value]))
        case MapOf() if rule.each != "name":  # those have names that the engine knows, or that the graph has
            yield from parts(rule.each, lambda value: wrapped({"x": value}))
        case MapOf():
            return
        case Number() | Text() | str():
            yield wrapped(a_value(rule)), rule
        case _:
            for key, each in rule.items():
                yield from parts(each, lambda value, key=key: wrapped({key: value}))  # type: ignore[misc]


def a_value(rule: Rule) -> Any:
    match rule:
        case Number():
            return int(max(rule.low, 1))
        case Text():
            examples = ("0", "x", "ORT_ENABLE_ALL", "cpu:0", "left", "", "disabled")
            return next(example for example in examples if rule.pattern.fullmatch(example))
        case "flag":
            return True
    return "x"


def test_the_engine_knows_every_key_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_text('{"model": {"context_length": 8}}')
    unknown = []
    tried = 0
    for document, _ in parts(ROOT):
        assert fault_in(document) is None
        tried += 1
        try:
            og.Config(str(tmp_path)).overlay(json.dumps(document))
        except Exception as error:  # the engine's own checks of values are its affair
            if "Unknown value" in str(error) or "Expected a" in str(error):
                unknown.append(f"{document}: {error}")
    assert tried > 300
    assert not unknown
