"""The recipe with a Transformers pipeline, from the command to a chat, on the real default model."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import Message
from edgechat.convert.huggingface import convert_hf
from edgechat.engine.genai import GenaiModel
from edgechat.engine.protocol import Finished, Request, Sampling, TextDelta
from edgechat.engine.worker.client import EngineClient, ModelSource
from edgechat.examples.transformers_pipeline import main
from edgechat.models.folder import open_model
from edgechat.models.store import ModelStore
from edgechat.runtime import paths
from tests.support.hf_folders import write_hf
from tests.support.terminal import Terminal, needs_tmux

pytestmark = pytest.mark.model

QUESTION = "What is the capital of France?"


@dataclass(frozen=True)
class Ran:
    """The example, run once: what it printed, and the folder it logged."""

    out: str
    err: str
    folder: Path


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgechat.examples.transformers_pipeline", *arguments],
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd), "OMP_WAIT_POLICY": "PASSIVE"},  # else a busy machine takes minutes
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def ran(default_hf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    if not all(importlib.util.find_spec(name) for name in ("mlflow", "pandas", "sqlalchemy")):
        pytest.skip("needs the whole of mlflow")
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("logged")
    ended = run(work, str(default_hf), "--out", str(out), "--register", "smollm2")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert list(work.iterdir()) == []
    folder = Path(ended.stderr.rpartition("--model-uri ")[2].strip())
    yield Ran(ended.stdout, ended.stderr, folder)
    shutil.rmtree(out)  # a quarter of a gigabyte


def test_the_signature_is_that_of_chat(ran: Ran) -> None:
    inputs, _, outputs = ran.out.partition("outputs:")
    for name in ("messages", "temperature", "max_tokens", "stop", "n", "stream"):
        assert re.search(rf"'{name}': ", inputs), name
    for name in ("id", "object", "created", "model", "choices", "usage"):
        assert re.search(rf"'{name}': ", outputs), name


def test_the_answer_has_the_shape_of_chat(ran: Ran) -> None:
    answer: dict[str, Any] = json.loads(ran.out[ran.out.index("\n{") :])
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_it_is_registered_and_narrates_on_standard_error_only(ran: Ran) -> None:
    assert "Created version '1' of model 'smollm2'" in ran.err
    assert "it/s" not in ran.err
    assert ran.out.startswith("inputs:")


def test_the_folder_opens_without_mlflow_or_torch(ran: Ran) -> None:
    model = open_model(ran.folder)
    assert model.kind == "transformers"
    assert model.name == "smollm2"
    assert (model.architecture, model.quantisation, model.context_length) == ("llama", "bfloat16", 8192)
    assert model.licence == "apache-2.0"
    assert model.mlflow is not None
    assert set(model.mlflow.flavors) == {"transformers", "python_function"}


async def test_it_streams_and_stops_in_the_engine(ran: Ran) -> None:
    model = open_model(ran.folder)
    engine = EngineClient(ModelSource(model.genai, model.name, model.kind))
    asked = Request((Message("user", "Tell me a very long story."),), Sampling(temperature=0))
    try:
        texts: list[str] = []
        finished: Finished | None = None
        async for event in engine.stream(asked):
            if isinstance(event, TextDelta):
                texts.append(event.text)
                if len(texts) == 3:
                    await engine.stop()
            elif isinstance(event, Finished):
                finished = event
        assert finished is not None
        assert finished.reason == "cancelled"
        assert 3 <= finished.usage.completion < 100
    finally:
        await engine.aclose()


def test_it_is_installed_and_answers_by_its_name(ran: Ran, own_home: Path) -> None:
    assert ModelStore().add(ran.folder, link=True).name == "smollm2"
    ended = subprocess.run(
        paths.own_command("ask", "-m", "smollm2", "--temperature", "0", "--max-tokens", "12", QUESTION),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Paris" in ended.stdout
    assert ended.stderr == ""


@needs_tmux
def test_it_is_chatted_with_in_a_terminal(ran: Ran, own_home: Path) -> None:
    environment = {
        "EDGECHAT_HOME": str(own_home),
        "EDGECHAT_TEMPERATURE": "0",
        "HOME": str(own_home.parent),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    with Terminal(paths.own_command("-m", str(ran.folder)), environment=environment, cwd=own_home.parent) as terminal:
        terminal.wait_for("ready")
        terminal.press("Tell me a very long story about a lighthouse keeper.", "Enter")
        terminal.wait_for("writing")
        terminal.press("Escape")
        terminal.wait_for("stopped")
        terminal.press(QUESTION, "Enter")
        terminal.wait_for("Paris")
        terminal.wait_for("ready")


def test_it_becomes_an_onnx_model_that_answers(ran: Ran, tmp_path: Path) -> None:
    report = convert_hf(ran.folder, tmp_path / "onnx")
    model = open_model(tmp_path / "onnx")
    assert (model.kind, model.architecture, model.context_length) == ("genai", "llama", report.context_length)
    loaded = GenaiModel(model.genai, context=512)
    asked = Request((Message("user", QUESTION),), Sampling(temperature=0), 24)
    assert "Paris" in "".join(event.text for event in loaded.generate(asked) if isinstance(event, TextDelta))


def test_a_folder_that_is_no_model_is_told_in_words(tmp_path: Path) -> None:
    ended = run(tmp_path, str(tmp_path / "gone"), "--out", str(tmp_path / "out"))
    assert ended.returncode == 3
    assert "config.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extras_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as Python itself marks what may not be imported
    assert main([str(write_hf(tmp_path / "hf")), "--out", str(tmp_path / "out")]) == 3
    assert "uv sync --inexact --extra mlflow --extra transformers" in capsys.readouterr().err


def test_without_a_place_it_asks_for_one(tmp_path: Path) -> None:
    ended = run(tmp_path, str(tmp_path))
    assert ended.returncode == 2
    assert "--out" in ended.stderr
    assert list(tmp_path.glob("ml*")) == []
