"""Hugging Face folders and the pipelines of MLflow's transformers flavor: opened as data, or refused with a reason."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.engine.worker.client import EngineClient, ModelSource
from edgechat.errors import ModelError
from edgechat.models.folder import open_model
from tests.support.hf_folders import WEIGHTS, write_hf, write_safetensors

MLMODEL = """\
flavors:
  transformers:
    components: [tokenizer]
    {keys}
    source_model_name: someone/some-model
    task: text-generation
metadata: {{name: pipe}}
"""


def saved(root: Path, keys: str = "model_binary: model") -> Path:
    """What MLflow writes: the weights in one folder, the tokenizer in another."""
    write_hf(root / "model")
    tokenizer = root / "components" / "tokenizer"
    tokenizer.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (root / "model" / name).rename(tokenizer / name)
    (root / "MLmodel").write_text(MLMODEL.format(keys=keys), "utf-8")
    return root


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_model(path)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_bare_folder(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "hf")
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: mit\n---\nlicense: gpl\n", "utf-8")
    model = open_model(folder)
    assert (model.kind, model.genai, model.name, model.mlflow) == ("transformers", folder, "hf", None)
    assert (model.architecture, model.context_length, model.quantisation) == ("llama", 2048, "bfloat16")
    assert model.licence == "mit"


def test_a_pipeline_that_mlflow_saved(tmp_path: Path) -> None:
    model = open_model(saved(tmp_path / "artifacts"))
    assert (model.kind, model.genai, model.name) == ("transformers", tmp_path / "artifacts" / "model", "pipe")


def test_a_known_model_that_names_code_elsewhere(tmp_path: Path) -> None:
    # Phi-3 on the hub does; the code is never asked for, as the engine's own test shows.
    assert open_model(write_hf(tmp_path / "hf", auto_map={"AutoModel": "x.Y"})).kind == "transformers"


def test_shards_are_all_needed(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "hf")
    (folder / WEIGHTS).unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    write_safetensors(folder / names[0], {"a": (4, 8)})
    assert names[1] in refusal(folder).message
    write_safetensors(folder / names[1], {"b": (8,)})
    assert open_model(folder).kind == "transformers"


def test_two_tensors_in_a_file(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "hf")
    _header()(folder)
    assert open_model(folder).quantisation == "float32"


def _cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def _header(**changes: object) -> Callable[[Path], object]:
    """Two tensors of eight bytes, the second one described in another way."""

    def write(folder: Path) -> None:
        first = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        header = json.dumps(
            {"a": first, "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16], **changes}}
        ).encode()
        (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))

    return write


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def _shard_outside(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut, "bytes in place of"),
        (_header(data_offsets=[0, 8]), "overlap"),
        (_header(data_offsets=[0, 16]), "its header"),
        (_header(data_offsets=[16, 8]), "its header"),
        (_header(shape=[2**60, 2**60]), "its header"),
        (_header(shape=[10**4000] * 300), "its header"),
        (_header(shape=[-2, -1]), "its header"),
        (_header(shape=[True, 2]), "its header"),
        (_header(dtype=None), "its header"),
        (_pickled, "pickle"),
        (_shard_outside, "elsewhere"),
        (lambda folder: (folder / WEIGHTS).unlink(), "no weights"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 64), "safetensors file"),
        (lambda folder: (folder / WEIGHTS).write_bytes((8).to_bytes(8, "little") + b"[1,2,3] "), "header"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{}"), "conversation"),
        (lambda folder: (folder / "modeling_x.py").write_text(""), "code of its own"),
        (lambda folder: write_hf(folder, architectures=["BertModel"]), "BertModel"),
        (lambda folder: write_hf(folder, architectures=["\x1b[31mX"]), "x1b"),
        (lambda folder: write_hf(folder, model_type=7), "describes"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter"),
        (lambda folder: (folder / "extra").symlink_to("/etc/passwd"), "leaves the model folder"),
    ],
)
def test_a_folder_that_is_refused(tmp_path: Path, damage: Callable[[Path], object], reason: str) -> None:
    folder = write_hf(tmp_path / "hf")
    damage(folder)
    assert reason in refusal(folder).message


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("instance_type: TextGenerationPipeline", "someone/some-model"),
        ("peft_adaptor: peft", "adapter"),
        ("model_binary: ../other", "outside the model folder"),
        ("model_binary: nothing", "nothing cannot be read"),
    ],
)
def test_a_pipeline_that_is_refused(tmp_path: Path, keys: str, reason: str) -> None:
    assert reason in refusal(saved(tmp_path / "saved", keys)).message


def test_a_tokenizer_with_code_beside_the_weights(tmp_path: Path) -> None:
    root = saved(tmp_path / "saved")
    (root / "components" / "tokenizer" / "tokenization_x.py").write_text("")
    assert "code of its own" in refusal(root).message


@pytest.mark.parametrize("missing", ["torch", "transformers"])
async def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as Python itself marks what may not be imported
    engine = EngineClient(ModelSource(write_hf(tmp_path / "hf"), "pipe", "transformers"))
    with pytest.raises(ModelError, match=missing) as caught:
        await engine.start()
    assert "uv sync --inexact --extra transformers" in caught.value.hint
    assert engine.pid is None


async def test_a_packaged_binary_points_to_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    engine = EngineClient(ModelSource(write_hf(tmp_path / "hf"), "pipe", "transformers"))
    with pytest.raises(ModelError, match="ONNX GenAI") as caught:
        await engine.start()
    assert "edgechat package" in caught.value.hint
