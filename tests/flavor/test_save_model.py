"""Saving a model: the MLflow folder says the truth, and nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from edgechat.errors import ModelError, StorageError
from edgechat.flavor import save_model
from edgechat.flavor.signature import PARAMETERS
from edgechat.models.manifest import read_manifest, verify_manifest

METADATA: dict[str, str | int | float] = {
    "architecture": "llama",
    "quantisation": "Q4_1 + Q8_0",
    "licence": "apache-2.0",
    "parameters": 134515008,
    "source": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "source_sha256": "0" * 64,
    "context_length": 8192,
}


@pytest.fixture
def genai(tmp_path: Path) -> Path:
    """A folder with the files of an ONNX GenAI model, none of them real."""
    folder = tmp_path / "genai"
    folder.joinpath("adapters").mkdir(parents=True)
    for name in ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json", "adapters/a.bin"):
        folder.joinpath(name).write_text(json.dumps({"file": name}))
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes().decode("latin-1") for file in files}


def mlmodel(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
    return data


class TestMlmodel:
    """What MLmodel and its neighbours say."""

    @pytest.fixture
    def saved(self, genai: Path, tmp_path: Path) -> Path:
        save_model(genai, tmp_path / "saved", metadata={"name": "smollm2", **METADATA})
        return tmp_path / "saved"

    def test_flavors(self, saved: Path) -> None:
        flavors = mlmodel(saved)["flavors"]
        assert set(flavors) == {"onnxruntime_genai", "python_function"}
        pyfunc = flavors["python_function"]
        assert pyfunc["loader_module"] == "edgechat.flavor"
        assert pyfunc["data"] == flavors["onnxruntime_genai"]["data"] == "model"
        assert pyfunc["streamable"] is True
        assert pyfunc["env"] == {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
        assert {"context": None, "threads": None, "max_tokens": None}.items() <= pyfunc["config"].items()

    def test_metadata_and_size(self, saved: Path) -> None:
        model = mlmodel(saved)
        assert model["metadata"] == {"name": "smollm2", **METADATA}
        assert model["model_size_bytes"] == sum(len(text) for text in contents(saved / "model").values())
        assert "run_id" not in model
        assert "artifact_path" not in model

    def test_signature(self, saved: Path) -> None:
        signature = mlmodel(saved)["signature"]
        inputs = {column["name"]: column for column in json.loads(signature["inputs"])}
        assert inputs["prompt"] == {"name": "prompt", "type": "any", "required": False}
        assert inputs["messages"]["type"] == "array"
        assert inputs["messages"]["required"] is False
        assert set(inputs["messages"]["items"]["properties"]) == {"role", "content"}
        assert json.loads(signature["outputs"]) == [{"type": "any", "required": True}]
        params = {param["name"]: param for param in json.loads(signature["params"])}
        assert set(params) == set(PARAMETERS)
        # MLflow drops what is no column: the chat API has the parameters beside the messages.
        assert set(inputs) == {"prompt", "messages", *params}
        assert params["stop"]["shape"] == [-1]

    def test_environment_is_written_not_inferred(self, saved: Path) -> None:
        lines = (saved / "requirements.txt").read_text().splitlines()
        names = {Requirement(line).name for line in lines}
        assert "edgechat" not in names  # its code rides along
        assert {"onnxruntime-genai", "tokenizers", "mlflow"} <= names
        assert not {"textual", "click"} & names
        conda = yaml.safe_load((saved / "conda.yaml").read_text())
        assert conda["dependencies"][-1] == {"pip": lines}
        assert yaml.safe_load((saved / "python_env.yaml").read_text())["dependencies"] == ["-r requirements.txt"]

    def test_code_rides_along(self, saved: Path) -> None:
        place = mlmodel(saved)["flavors"]["python_function"]["code"]
        assert "edgechat/flavor/scoring.py" in zipfile.ZipFile(saved / place).namelist()

    def test_code_of_ones_own(self, genai: Path, tmp_path: Path) -> None:
        package = tmp_path / "mine"
        package.joinpath("__pycache__").mkdir(parents=True)
        package.joinpath("__init__.py").write_text("x = 1")
        package.joinpath("__pycache__/x.pyc").write_text("")
        save_model(genai, tmp_path / "saved", code_paths=[package])
        assert mlmodel(tmp_path / "saved")["flavors"]["python_function"]["code"] == "code"
        assert contents(tmp_path / "saved/code") == {"mine/__init__.py": "x = 1"}
        with pytest.raises(ModelError, match="does not exist"):
            save_model(genai, tmp_path / "other", code_paths=[tmp_path / "nowhere"])
        assert not (tmp_path / "other").exists()

    def test_without_code_edgechat_is_required(self, genai: Path, tmp_path: Path) -> None:
        save_model(genai, tmp_path / "saved", code_paths=[])
        assert "code" not in mlmodel(tmp_path / "saved")["flavors"]["python_function"]
        assert (tmp_path / "saved/requirements.txt").read_text().startswith("edgechat==")

    def test_requirements_are_given(self, genai: Path, tmp_path: Path) -> None:
        lines = tmp_path / "lines.txt"
        lines.write_text("a==1\nb>=2\n")
        save_model(genai, tmp_path / "one", pip_requirements=str(lines), extra_pip_requirements=["c"])
        assert (tmp_path / "one/requirements.txt").read_text().split() == ["a==1", "b>=2", "c"]
        save_model(genai, tmp_path / "two", extra_pip_requirements=["c"])
        assert (tmp_path / "two/requirements.txt").read_text().split()[-2:] == ["mlflow>=3.17,<3.18", "c"]
        conda = {"name": "mine", "dependencies": ["python=3.11", "pip", {"pip": ["d==4"]}]}
        save_model(genai, tmp_path / "three", conda_env=conda)
        assert "d==4" in (tmp_path / "three/requirements.txt").read_text()
        assert yaml.safe_load((tmp_path / "three/conda.yaml").read_text())["name"] == "mine"
        with pytest.raises(ModelError, match="Two environments"):
            save_model(genai, tmp_path / "four", conda_env=conda, pip_requirements=["a"])

    def test_settings_are_kept(self, genai: Path, tmp_path: Path) -> None:
        save_model(genai, tmp_path / "saved", model_config={"max_tokens": 64})
        assert mlmodel(tmp_path / "saved")["flavors"]["python_function"]["config"]["max_tokens"] == 64

    @pytest.mark.filterwarnings("default")  # MLflow's own imports warn
    def test_an_example_is_kept(self, genai: Path, tmp_path: Path) -> None:
        save_model(genai, tmp_path / "saved", input_example={"prompt": "Hello"})
        assert json.loads((tmp_path / "saved/input_example.json").read_text()) == {"prompt": "Hello"}
        assert mlmodel(tmp_path / "saved")["saved_input_example_info"]

    def test_the_manifest_rides_along(self, saved: Path) -> None:
        manifest = read_manifest(saved)
        assert manifest is not None
        assert {"MLmodel", "model/model.onnx", "requirements.txt"} <= set(manifest.files)
        assert verify_manifest(saved) == []

    def test_mlflow_reads_it_back(self, saved: Path) -> None:
        from mlflow.models import Model

        model = Model.load(str(saved))
        assert model.metadata["architecture"] == "llama"
        assert model.signature.inputs.input_names()[:2] == ["prompt", "messages"]
        assert {param.name: (param.dtype.name, param.default) for param in model.signature.params} == {
            "temperature": ("double", None),
            "top_p": ("double", None),
            "repetition_penalty": ("double", None),
            "max_tokens": ("long", None),
            "seed": ("long", None),
            "n": ("long", None),
            "stop": ("string", []),
            "stream": ("boolean", None),
        }
        assert model.flavors["python_function"]["data"] == "model"

    def test_edgechat_reads_it_back(self, tiny_llama: Path, tmp_path: Path) -> None:
        from edgechat.models.folder import open_model

        save_model(tiny_llama, tmp_path / "saved", metadata={"name": "tiny", **METADATA})
        model = open_model(tmp_path / "saved")
        assert model.genai == tmp_path / "saved" / "model"
        assert (model.quantisation, model.licence) == ("Q4_1 + Q8_0", "apache-2.0")
        assert model.source == "SmolLM2-135M-Instruct.Q4_1.gguf"


class TestWeights:
    """Where the files of the model go."""

    def test_copied(self, genai: Path, tmp_path: Path) -> None:
        before = contents(genai)
        save_model(genai, tmp_path / "saved", weights="copy")
        assert contents(tmp_path / "saved" / "model") == before == contents(genai)
        assert (tmp_path / "saved/model/model.onnx").stat().st_nlink == 1

    def test_linked(self, genai: Path, tmp_path: Path) -> None:
        save_model(genai, tmp_path / "saved", weights="link")
        assert (tmp_path / "saved/model/model.onnx").samefile(genai / "model.onnx")

    def test_linking_falls_back_to_copying(self, genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        save_model(genai, tmp_path / "saved", weights="link")
        assert contents(tmp_path / "saved" / "model") == contents(genai)

    def test_moved(self, genai: Path, tmp_path: Path) -> None:
        before, inode = contents(genai), (genai / "model.onnx.data").stat().st_ino
        save_model(genai, tmp_path / "saved", weights="move")
        assert contents(tmp_path / "saved" / "model") == before
        assert (tmp_path / "saved/model/model.onnx.data").stat().st_ino == inode
        assert not genai.exists()

    def test_moved_over_file_systems(self, genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, target: Path) -> Path:
            raise OSError(18, "Invalid cross-device link", str(self), None, str(target))

        before = contents(genai)
        monkeypatch.setattr(Path, "rename", refuse)
        save_model(genai, tmp_path / "saved", weights="move")
        assert contents(tmp_path / "saved" / "model") == before
        assert not genai.exists()

    def test_links_in_the_source_become_files(self, genai: Path, tmp_path: Path) -> None:
        blob = tmp_path / "blob"
        genai.joinpath("model.onnx").rename(blob)
        genai.joinpath("model.onnx").symlink_to(blob)
        save_model(genai, tmp_path / "saved", weights="move")
        assert not (tmp_path / "saved/model/model.onnx").is_symlink()
        assert blob.is_file()

    def test_a_folder_that_holds_only_the_model_is_completed(self, genai: Path, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.mkdir()
        before = contents(genai)
        genai.rename(place / "converted")
        save_model(place / "converted", place, weights="move")
        assert contents(place / "model") == before
        assert not (place / "converted").exists()


class TestFailures:
    """What is refused, and what is left behind."""

    def test_not_a_genai_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"genai_config\.json"):
            save_model(tmp_path, tmp_path / "saved")

    def test_taken(self, genai: Path, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        taken.mkdir()
        taken.joinpath("mine.txt").write_text("keep")
        with pytest.raises(ModelError, match="already exists"):
            save_model(genai, taken)
        assert contents(taken) == {"mine.txt": "keep"}

    @pytest.mark.parametrize("weights", ["move", "copy", "link"])
    def test_disk_full(self, genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Any) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        before = contents(genai)
        for name in ("shutil.copyfile", "os.link", "pathlib.Path.rename"):
            monkeypatch.setattr(name, full)
        with pytest.raises(StorageError, match="No space left") as caught:
            save_model(genai, tmp_path / "saved", weights=weights)
        assert "space" in caught.value.hint
        assert not (tmp_path / "saved").exists()
        assert contents(genai) == before

    def test_failure_inside_an_existing_folder_keeps_the_model(
        self, genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        place = tmp_path / "place"
        place.mkdir()
        before = contents(genai)
        genai.rename(place / "converted")
        monkeypatch.setattr("shutil.copyfile", full)
        with pytest.raises(StorageError):
            save_model(place / "converted", place, weights="copy")
        assert [child.name for child in place.iterdir()] == ["converted"]
        assert contents(place / "converted") == before


SAVE = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from pathlib import Path
from edgechat.flavor import save_model
save_model(Path(sys.argv[2]), Path(sys.argv[1]), metadata={{"architecture": "llama"}})
loaded = {{"mlflow.pyfunc", "pandas", "onnxruntime_genai", "torch"}} & {{n for n, m in sys.modules.items() if m}}
assert not loaded, loaded
"""


def test_needs_no_pandas_and_leaves_no_trace(genai: Path, tmp_path: Path) -> None:
    """The base install has no pandas; an empty home and the working directory stay empty, and nothing is printed."""
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    ran = subprocess.run(
        [sys.executable, "-c", SAVE.format(blocked=["pandas", "onnxruntime_genai"]), tmp_path / "saved", genai],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
    assert list(cwd.rglob("*")) == []
    assert (tmp_path / "saved" / "MLmodel").is_file()
    assert (tmp_path / "saved" / "model" / "genai_config.json").is_file()


def test_importing_the_flavor_imports_no_mlflow() -> None:
    code = "import sys, edgechat.flavor; assert not {'mlflow', 'onnxruntime_genai', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_reproducible_build_gives_the_same_bytes(
    genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("one", "two"):
        save_model(genai, tmp_path / name, metadata={"name": "smollm2", **METADATA})
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert mlmodel(tmp_path / "one")["utc_time_created"].startswith("2023-11-14")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    save_model(genai, tmp_path / "three", metadata={"name": "smollm2", **METADATA})
    assert mlmodel(tmp_path / "three")["model_uuid"] != mlmodel(tmp_path / "one")["model_uuid"]
