"""`edgechat package`: from every kind of source to a model folder that is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from edgechat.cli.package import package
from edgechat.errors import ConfigError, ConvertError, EdgechatError, ModelError, RegistryError, StorageError
from edgechat.models.folder import open_model
from edgechat.models.manifest import verify_manifest
from edgechat.runtime.extras import install_command
from edgechat.runtime.paths import own_command
from tests.support.mlflow_server import MlflowServer, free_port


def run(*arguments: object) -> Result:
    """Run the command; errors are raised as they reach `edgechat.cli.main`."""
    result = CliRunner().invoke(package, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def metadata(folder: Path) -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))["metadata"]
    return data


@pytest.mark.model
def test_a_gguf_file(default_gguf: Path, tmp_path: Path) -> None:
    out = tmp_path / "packaged"
    result = run(default_gguf, "--out", out, "--name", "smollm2")
    assert result.stdout == f"{out}\n"
    assert f"edgechat --model-uri {out}" in result.stderr
    assert metadata(out)["name"] == "smollm2"
    assert metadata(out)["quantisation"] == "Q4_1 + Q8_0"
    assert verify_manifest(out) == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "edgechat-home"] == ["packaged"]
    answer = subprocess.run(
        own_command("ask", "--model-uri", str(out), "--no-history", "--max-tokens", "12", "What is 2+2?"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.strip()


@pytest.mark.model
def test_an_mlflow_model_keeps_what_is_known_of_it(default_model: Path, tmp_path: Path) -> None:
    result = run(default_model, "--out", tmp_path / "packaged", "--json")
    told = json.loads(result.stdout)
    assert told["path"] == str(tmp_path / "packaged")
    before, after = metadata(default_model), metadata(tmp_path / "packaged")
    for key in ("architecture", "quantisation", "licence", "parameters", "source"):
        assert after[key] == before[key]
    assert after["source_sha256"] != before["source_sha256"]  # it was packaged from the folder, not from the GGUF file


@pytest.mark.model
def test_a_hugging_face_folder(default_hf: Path, tmp_path: Path) -> None:
    run(default_hf, "--out", tmp_path / "packaged")
    model = open_model(tmp_path / "packaged")
    assert model.kind == "genai"
    assert model.quantisation.startswith("int4")
    assert model.licence == "apache-2.0"


def test_an_onnx_folder(tiny_llama: Path, tmp_path: Path) -> None:
    run(tiny_llama, "--out", tmp_path / "copied")
    run(tiny_llama, "--out", tmp_path / "linked", "--link")
    assert not (tmp_path / "copied/model/model.onnx").samefile(tiny_llama / "model.onnx")
    assert (tmp_path / "linked/model/model.onnx").samefile(tiny_llama / "model.onnx")
    assert metadata(tmp_path / "copied")["quantisation"]
    assert open_model(tmp_path / "copied").architecture == "llama"


def test_a_folder_with_a_gguf_file_in_it(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"a\.gguf, b\.gguf"):
        run(tmp_path, "--out", tmp_path / "out")
    (tmp_path / "b.gguf").unlink()
    with pytest.raises(ConvertError):
        run(tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for source in (empty, tmp_path / "nowhere"):
        with pytest.raises(ModelError):
            run(source, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_taken_folder_is_left_alone(tiny_llama: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    taken.joinpath("mine.txt").write_text("keep")
    with pytest.raises(ModelError, match="already exists"):
        run(tiny_llama, "--out", taken)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_a_folder_inside_the_source_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "source")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match="inside the source"):
        run(tmp_path / "source", "--out", tmp_path / "source/out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_source_that_is_not_what_its_manifest_says_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    run(tiny_llama, "--out", tmp_path / "one")
    with (tmp_path / "one/model/tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        run(tmp_path / "one", "--out", tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_without_mlflow_it_says_so(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a packaged edgechat is."""
    monkeypatch.setitem(sys.modules, "mlflow.models", None)
    with pytest.raises(ModelError, match="MLflow is missing"):
        run(tiny_llama, "--out", tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_without_onnx_the_extra_is_named(default_gguf: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\nfrom edgechat.cli.main import run; raise SystemExit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "package", str(default_gguf), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 3
    assert install_command("convert") in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space"):
        run(tiny_llama, "--out", tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.model
def test_a_killed_run_leaves_no_model_and_the_next_clears_up(default_gguf: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    out = place / "packaged"
    process = subprocess.Popen(own_command("package", str(default_gguf), "--out", str(out)), stderr=subprocess.PIPE)
    while not list(place.glob(".packaged.*")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    assert len(list(place.iterdir())) == 1
    run(default_gguf, "--out", out)
    assert [path.name for path in place.iterdir()] == ["packaged"]


class TestRecord:
    """What goes to an MLflow server."""

    def test_an_alias_needs_a_name(self, tiny_llama: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="registered"):
            run(tiny_llama, "--out", tmp_path / "out", "--alias", "champion")

    def test_a_server_that_is_down_is_told_of_before_the_work(self, tiny_llama: Path, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="cannot be reached"):
            run(tiny_llama, "--out", tmp_path / "out", "--log", "--tracking-uri", f"http://127.0.0.1:{free_port()}")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("names", [("--register", "a/b"), ("--register", "a", "--alias", "v1")])
    def test_names_that_mlflow_refuses_are_told_of_before_the_work(
        self, mlflow_server: MlflowServer, tiny_llama: Path, tmp_path: Path, names: tuple[str, ...]
    ) -> None:
        with pytest.raises(RegistryError):
            run(tiny_llama, "--out", tmp_path / "out", *names, "--tracking-uri", mlflow_server.uri)
        assert not (tmp_path / "out").exists()

    def test_no_server_at_all(self, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(EdgechatError, match="--tracking-uri"):
            run(tiny_llama, "--out", tmp_path / "out", "--log")

    @pytest.mark.model
    @pytest.mark.filterwarnings("default")  # MLflow's own imports warn
    def test_a_run_with_the_model_its_speed_and_its_card(
        self, mlflow_server: MlflowServer, default_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mlflow import MlflowClient

        monkeypatch.chdir(tmp_path)
        where = ("--tracking-uri", mlflow_server.uri, "--experiment", "packaging")
        named = ("--register", "packaged", "--alias", "champion", "--json")
        result = run(default_model, "--out", tmp_path / "out", "--link", *named, *where)
        told = json.loads(result.stdout)
        client = MlflowClient(mlflow_server.uri, mlflow_server.uri)
        version = client.get_model_version_by_alias("packaged", "champion")
        assert (told["registered"], told["version"]) == ("packaged", str(version.version))
        logged = client.get_run(told["run_id"])
        assert logged.info.status == "FINISHED"
        params, metrics = logged.data.params, logged.data.metrics
        assert params["architecture"] == "llama"
        assert params["quantisation"] == "Q4_1 + Q8_0"
        assert len(params["source_sha256"]) == 64
        assert int(params["size_bytes"]) == metrics["size_bytes"] > 100_000_000
        for name in ("prefill_tokens_per_second", "decode_tokens_per_second", "ttft_seconds", "load_seconds"):
            assert metrics[name] > 0
        assert metrics["peak_memory_bytes"] > metrics["size_bytes"]
        card = Path(client.download_artifacts(told["run_id"], "model_card.md", str(tmp_path))).read_text()
        assert "| Licence | apache-2.0 |" in card
        assert str(tmp_path) not in card  # whose machine it was packaged on is nobody's business
        (model,) = client.search_logged_models([logged.info.experiment_id])
        assert model.model_id == told["model_id"]
        assert {path.name for path in tmp_path.iterdir()} <= {"out", "edgechat-home", "model_card.md"}
