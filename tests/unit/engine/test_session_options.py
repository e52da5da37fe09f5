"""Options that no model decides: they reach every session, over the model's own, on the machines that need them."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import Message
from edgechat.engine import genai
from edgechat.engine.genai import GenaiModel
from edgechat.engine.protocol import Request, Sampling
from edgechat.engine.session_options import NO_KLEIDIAI, model_overlay, session_options

REPORT = "session.collect_node_memory_stats_to_file"
"""An option that leaves a trace of the value a session was made with: a file of that name."""


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ARM64"])
def test_arm_computes_without_kleidiai(machine: str) -> None:
    assert session_options(2, machine=machine)[NO_KLEIDIAI] == "1"


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "riscv64"])
def test_other_machines_keep_what_they_have(machine: str) -> None:
    assert NO_KLEIDIAI not in session_options(2, machine=machine)


def test_each_place_with_options_of_its_own_is_overlaid() -> None:
    model = {
        "type": "decoder-pipeline",
        "decoder": {
            "session_options": {NO_KLEIDIAI: "0"},
            "pipeline": [
                {"first": {"filename": "a.onnx", "session_options": {NO_KLEIDIAI: "0"}}},
                {"second": {"filename": "b.onnx"}, "third": {"session_options": {}}},
            ],
        },
        "embedding": {"session_options": {"log_id": "x"}},
    }
    options = session_options(1, machine="aarch64")
    assert model_overlay(model, options) == {
        "decoder": {
            "session_options": options,
            "pipeline": [{"first": {"session_options": options}}, {"third": {"session_options": options}}],
        },
        "embedding": {"session_options": options},
    }
    assert model_overlay({"decoder": {"filename": "a.onnx"}}, options) == {"decoder": {"session_options": options}}


def pipelined(config: dict[str, Any]) -> None:
    """The same model as a pipeline of one stage, which has options of its own."""
    decoder = config["model"]["decoder"]
    config["model"]["type"] = "decoder-pipeline"
    layers = range(decoder["num_hidden_layers"])
    ends = [f"{layer}.{kind}" for layer in layers for kind in ("key", "value")]
    decoder["pipeline"] = [
        {
            "all": {
                "filename": decoder.pop("filename"),
                "inputs": ["input_ids", "attention_mask", *(f"past_key_values.{end}" for end in ends)],
                "outputs": ["logits", *(f"present.{end}" for end in ends)],
                "session_options": dict(decoder["session_options"]),
            }
        }
    ]


@pytest.mark.parametrize("pipeline", [False, True], ids=["decoder", "pipeline"])
def test_a_model_cannot_override_them(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pipeline: bool
) -> None:
    """The library itself is asked: of two values of one option, the one laid over is obeyed."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    config = json.loads((folder / "genai_config.json").read_text())
    theirs, ours = tmp_path / "theirs.csv", tmp_path / "ours.csv"
    config["model"]["decoder"]["session_options"] |= {REPORT: str(theirs), NO_KLEIDIAI: "0"}
    if pipeline:
        pipelined(config)
    (folder / "genai_config.json").write_text(json.dumps(config))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")

    def reported(threads: int, *, spinning: bool = True) -> dict[str, Any]:
        options = session_options(threads, spinning=spinning)
        assert options[NO_KLEIDIAI] == "1"
        return {**options, REPORT: str(ours)}

    monkeypatch.setattr(genai, "session_options", reported)
    model = GenaiModel(folder, context=64)
    assert list(model.generate(Request((Message("user", "Hi"),), Sampling(temperature=0), 4)))
    assert ours.stat().st_size > 0
    assert not theirs.exists()
