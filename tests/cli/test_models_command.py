"""`edgechat models`: its answers, its exit codes, and what it does not let through to a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgechat.cli import main
from edgechat.cli.bench import bench
from edgechat.cli.models import models
from edgechat.errors import ExitCode, ModelError
from edgechat.models import default
from edgechat.models.store import ModelStore
from tests.support.hf_folders import write_hf

Add = Callable[..., str]

MLMODEL = """\
flavors:
  edgechat: {data: genai}
  python_function: {loader_module: edgechat.flavor, data: genai}
mlflow_version: 3.17.2
model_uuid: 6b1e
run_id: "0123abc"
metadata: {licence: "MIT\\e[31m", quantisation: "int4\\n\\x9b2J", made: 2026-01-02}
signature:
  inputs: '[{"name": "prompt", "type": "string", "required": false}, {"type": "long", "name": "n"}]'
  outputs: 'not JSON'
utc_time_created: '2026-01-02 03:04:05'
"""


def run(*arguments: str, typed: str | None = None) -> Result:
    """Run the command; errors are raised as they reach `edgechat.cli.main`."""
    result = CliRunner().invoke(models, arguments, input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    genai = root / "genai"
    genai.mkdir(parents=True)
    model = {"type": "phi3", "context_length": 4096, "decoder": {"filename": "model.onnx"}}
    (genai / "genai_config.json").write_text(json.dumps({"model": model}))
    (genai / "model.onnx").write_bytes(b"graph" * 1000)
    (genai / "tokenizer.json").write_text("{}")
    (root / "MLmodel").write_text(MLMODEL)
    return root


def harmless(text: str) -> bool:
    return not any(letter != "\n" and (ord(letter) < 32 or 127 <= ord(letter) < 160) for letter in text)


def test_add_list_show_verify_remove(folder: Path) -> None:
    added = run("add", str(folder), "--name", "phi3")
    assert added.stdout == "phi3\n"
    assert "--model-uri phi3" in added.stderr
    listed = run("list").stdout.splitlines()
    assert listed[0].split() == ["NAME", "TYPE", "SIZE", "CONTEXT", "WEIGHTS"]
    assert listed[1].split()[:3] == ["*", "phi3", "phi3"]
    assert "4096" in listed[1]
    shown = run("show", "phi3").stdout
    for word in ("phi3", "0123abc", "6b1e", "edgechat, python_function", "prompt: string (optional), n: long"):
        assert word in shown
    assert "4,096 tokens" in shown
    assert "every file is as it was installed" in shown
    assert run("verify").stdout == "phi3: ok\n"
    removed = run("remove", "phi3", "--yes")
    assert removed.stdout == ""
    assert "removed phi3" in removed.stderr
    assert ModelStore().names() == ()


def test_output_is_harmless_and_fits(folder: Path) -> None:
    run("add", str(folder), "--name", "x" * 70)
    run("add", str(folder), "--name", "short")
    for arguments in (["list"], ["show", "short"], ["show", str(folder)], ["verify"]):
        text = run(*arguments).stdout
        assert harmless(text), text
    for arguments in (["list"], ["show", "short"]):
        lines = run(*arguments).stdout.splitlines()
        assert all(len(line) <= 80 for line in lines if not line.startswith("Folder")), "paths alone are not torn"
    assert "␛[31m" in run("show", "short").stdout


def test_json(folder: Path) -> None:
    added = json.loads(run("add", str(folder), "--name", "phi3", "--json").stdout)
    assert added["verified"] == "verified"
    (entry,) = json.loads(run("list", "--json").stdout)
    assert entry["name"] == "phi3"
    assert entry["default"] is True
    assert entry["context_length"] == 4096
    text = run("show", "--json").stdout
    assert harmless(text)
    card = json.loads(text)
    assert card["licence"] == "MIT␛[31m"
    assert card["mlflow"]["metadata"]["licence"] == "MIT\x1b[31m"
    assert card["mlflow"]["metadata"]["made"] == "2026-01-02"
    assert card["mlflow"]["run_id"] == "0123abc"
    assert json.loads(run("verify", "--json").stdout) == [{"name": "phi3", "ok": True, "problems": [], "error": ""}]


def test_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "edgechat models add FOLDER" in run("list").stderr
    monkeypatch.setattr(default, "embedded_gguf", lambda: None)
    result = run("list")
    assert result.stdout == ""
    assert "no model is installed." in result.stderr
    assert run("list", "--json").stdout == "[]\n"
    assert run("verify").stdout == ""
    with pytest.raises(ModelError, match="No model installed"):
        run("show")


def test_a_broken_model_is_listed(folder: Path) -> None:
    run("add", str(folder), "--name", "good")
    run("add", str(folder), "--name", "bad")
    (ModelStore().root / "bad" / "genai" / "tokenizer.json").unlink()
    lines = run("list").stdout.splitlines()
    assert any("bad" in line and "cannot be opened" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
    entries = {entry["name"]: entry for entry in json.loads(run("list", "--json").stdout)}
    assert "tokenizer.json" in entries["bad"]["error"]


def test_verify_tells_what_is_wrong_and_fails(folder: Path) -> None:
    run("add", str(folder), "--name", "good")
    run("add", str(folder), "--name", "bad")
    genai = ModelStore().root / "bad" / "genai"
    (genai / "model.onnx").write_bytes(b"X" + (genai / "model.onnx").read_bytes()[1:])
    (genai / "new\x1b[31m").write_text("x")
    result = CliRunner().invoke(models, ["verify"])
    assert result.stdout.splitlines() == [
        "bad: changed: genai/model.onnx (other bytes than were installed)",
        "bad: extra: genai/new␛[31m (not in the manifest)",
        "good: ok",
    ]
    assert isinstance(result.exception, ModelError)
    assert result.exception.exit_code == ExitCode.MODEL
    assert "bad" in result.exception.message
    assert run("verify", "good").stdout == "good: ok\n"
    result = CliRunner().invoke(models, ["verify", "--json"])
    assert [entry["ok"] for entry in json.loads(result.stdout)] == [False, True]
    assert "NO, changed: genai/model.onnx" in run("show", "bad").stdout


def test_a_model_put_there_by_hand_cannot_be_verified(folder: Path) -> None:
    ModelStore().root.mkdir(parents=True)
    folder.rename(ModelStore().root / "byhand")
    result = CliRunner().invoke(models, ["verify"])
    assert "Nothing to verify against" in result.stdout
    assert isinstance(result.exception, ModelError)
    assert "no manifest" in run("show", "byhand").stdout


def test_removing_asks(folder: Path) -> None:
    run("add", str(folder), "--name", "phi3")
    kept = run("remove", "phi3", typed="n\n")
    assert kept.exit_code == ExitCode.ERROR
    assert "stays" in kept.stderr
    with pytest.raises(ModelError, match="Not removed"):
        run("remove", "phi3", typed="")
    assert ModelStore().has("phi3")
    assert run("remove", "phi3", typed="y\n").exit_code == 0
    with pytest.raises(ModelError, match="Model not found"):
        run("remove", "phi3", "--yes")


def test_unknown_names(folder: Path) -> None:
    run("add", str(folder), "--name", "phi3-mini")
    for command in ("show", "verify", "remove"):
        with pytest.raises(ModelError) as caught:
            run(command, "phi3-mni")
        assert "phi3-mini" in caught.value.hint


def test_trust_and_replace(folder: Path) -> None:
    config = folder / "genai" / "genai_config.json"
    model = json.loads(config.read_text())
    model["model"]["decoder"]["session_options"] = {"custom_ops_library": "x.so"}
    run("add", str(folder), "--name", "phi3")
    config.write_text(json.dumps(model))
    with pytest.raises(ModelError, match="native code"):
        run("add", str(folder), "--name", "phi3", "--replace")
    with pytest.raises(ModelError, match="Name is taken"):
        run("add", str(folder), "--name", "phi3", "--trust")
    card = json.loads(run("add", str(folder), "--name", "phi3", "--replace", "--trust", "--json").stdout)
    assert card["trusted"] is True


@pytest.mark.parametrize("command", ["", "list", "add", "remove", "verify", "show", "pull", "push", "outdated"])
def test_help_teaches_with_an_example(command: str) -> None:
    text = run(*command.split(), "--help").stdout
    assert "\n    edgechat models" in text
    assert "\\b" not in text


def test_completion_offers_the_installed_names(folder: Path) -> None:
    run("add", str(folder), "--name", "phi3")
    command = models.get_command(click.Context(models), "show")
    assert command is not None
    context = click.Context(command)
    offered = command.params[0].shell_complete(context, "p")
    assert [item.value for item in offered] == ["phi3"]


def test_exit_codes_of_the_whole_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["models", "add", str(folder), "--name", "phi3"]) == 0
    assert main.run(["models", "verify"]) == 0
    (ModelStore().root / "phi3" / "genai" / "model.onnx").write_bytes(b"")
    capsys.readouterr()
    assert main.run(["models", "verify"]) == ExitCode.MODEL
    out, err = capsys.readouterr()
    assert "phi3: changed: genai/model.onnx" in out
    assert "Verification failed" in err
    assert main.run(["models", "show", "gone"]) == ExitCode.MODEL
    assert main.run(["models", "nonsense"]) == ExitCode.USAGE


def test_a_hugging_face_folder_is_shown_with_what_runs_it(tmp_path: Path) -> None:
    shown = run("show", str(write_hf(tmp_path / "hf"))).stdout
    assert "transformers (the extra of that name)" in shown
    assert "no; a bare Hugging Face folder" in shown
    assert json.loads(run("show", str(tmp_path / "hf"), "--json").stdout)["kind"] == "transformers"


def test_a_hugging_face_folder_is_not_measured(tmp_path: Path) -> None:
    error = CliRunner().invoke(bench, ["--model-uri", str(write_hf(tmp_path / "hf"))]).exception
    assert isinstance(error, ModelError)
    assert "edgechat package" in error.hint
