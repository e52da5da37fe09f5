"""The packaged default model behind MLflow's own commands: serve, predict, generate-dockerfile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from edgechat.models.manifest import verify_manifest
from edgechat.runtime.opt_outs import OPT_OUTS
from edgechat.runtime.paths import own_command
from tests.support.mlflow_server import free_port

pytestmark = [pytest.mark.model, pytest.mark.slow]

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = {"temperature": 0, "max_tokens": 12}
KNOWN = {
    "What is the capital of Japan?": "Tokyo",
    "Which language is spoken in Brazil?": "Portuguese",
    "In which country are the pyramids of Giza?": "Egypt",
    "Who wrote Romeo and Juliet?": "Shakespeare",
}
"""What the default model answers rightly, and by which word that is seen."""


@pytest.fixture(scope="module")
def packaged(default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaged") / "smollm2"
    subprocess.run(own_command("package", str(default_gguf), "--out", str(folder)), check=True, timeout=300)
    return folder


def mlflow(*words: str, work: Path, **options: Any) -> Any:
    """MLflow's command in a working directory, as in an environment that is active: it starts `uvicorn` by its name."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = options.pop("start", subprocess.run)
    return start(["mlflow", *words], cwd=work, env={**os.environ, **OPT_OUTS, "PATH": path}, **options)


class Scoring:
    """A scoring server, spoken to in JSON."""

    def __init__(self, port: int) -> None:
        self._uri = f"http://127.0.0.1:{port}"

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._uri}/ping", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, body: Any) -> Any:
        """The answer; what is not JSON-like is sent as it is."""
        code, text = self.post(body)
        assert code == 200, text
        return json.loads(text)

    def post(self, body: Any) -> tuple[int, str]:
        """The status and the text of an answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._uri}/invocations", raw, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scoring]:
    """`mlflow models serve` on the packaged folder, in an empty working directory that stays empty."""
    folder, port = tmp_path_factory.mktemp("serving"), free_port()
    work = folder / "work"
    work.mkdir()
    words = ("models", "serve", "-m", str(packaged), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port))
    with (folder / "log").open("wb") as log:
        process = mlflow(*words, work=work, start=subprocess.Popen, stdout=log, stderr=log, start_new_session=True)
    scoring = Scoring(port)
    end = time.monotonic() + 120
    try:
        while not scoring.is_up():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield scoring
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # MLflow and the uvicorn below it
        process.wait(timeout=30)
    assert list(work.iterdir()) == []
    assert verify_manifest(packaged) == []


def test_both_forms(server: Scoring) -> None:
    assert "Tokyo" in server.ask({"prompt": "What is the capital of Japan?", **GREEDY})[0]
    (answer,) = server.ask({"messages": [{"role": "user", "content": "What is the capital of Japan?"}], **GREEDY})
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "smollm2"
    assert "Tokyo" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_parameters(server: Scoring) -> None:
    asked = {"messages": HELLO, "n": 2, "temperature": 1.2, "seed": 4, "max_tokens": 8, "stop": ["zebra", "."]}
    (answer,) = server.ask(asked)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) == 2
    assert not any("." in text for text in texts)
    (again,) = server.ask(asked)
    assert again["choices"] == answer["choices"]
    # `mlflow models serve` never streams: it gives a whole answer, as for any other.
    (whole,) = server.ask({"messages": HELLO, "max_tokens": 3, "stream": True})
    assert whole["usage"]["completion_tokens"] == 3


def test_frames_and_named_inputs(server: Scoring) -> None:
    prompts = list(KNOWN)[:2]
    columns = {"columns": ["prompt", "max_tokens", "temperature"], "data": [[prompt, 12, 0] for prompt in prompts]}
    for body in (
        {"dataframe_split": columns},
        {"dataframe_records": [{"prompt": prompt} for prompt in prompts], "params": GREEDY},
        {"inputs": {"prompt": prompts}, "params": GREEDY},
    ):
        answers = server.ask(body)["predictions"]
        assert all(KNOWN[prompt] in answer for prompt, answer in zip(prompts, answers, strict=True)), body
    (answer,) = server.ask({"inputs": {"messages": HELLO}, "params": {"max_tokens": 2}})["predictions"]
    assert answer["usage"]["completion_tokens"] == 2


def test_keys_that_mlflow_drops_change_nothing(server: Scoring) -> None:
    """The signature does not name them, so the model never sees them."""
    asked = {"messages": HELLO, **GREEDY}
    (plain,) = server.ask(asked)
    (answer,) = server.ask({**asked, "model": "gpt-4", "logprobs": True, "user": "Ann"})
    assert answer["choices"] == plain["choices"]
    assert answer["model"] == "smollm2"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"messages":', "valid JSON"),
        (b"\xff", "valid JSON"),
        ([], "list"),
        ({}, "exactly one of"),
        ({"messages": []}, "No messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [5]}, "dictionary"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "string"),
        ({"messages": [{**HELLO[0], "name": "Ann"}]}, "name"),
        ({"messages": HELLO, "max_tokens": -1}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": "many"}, "max_tokens"),
        ({"messages": HELLO, "temperature": 2.5}, "temperature"),
        ({"messages": HELLO, "n": 0}, ".n"),
        ({"messages": HELLO, "n": 1.5}, "'n'"),
        ({"messages": HELLO, "stop": "x"}, "stop"),
        ({"messages": HELLO, "prompt": "x"}, "both"),
        ({"prompt": ""}, "empty"),
        ({"prompt": 5}, "not text"),
        ({"prompt": "\ud800"}, "surrogates"),
        ({"prompt": "word " * 9000}, "longer than the context"),
        ({"dataframe_split": {"columns": ["text"], "data": [["x"]]}}, "prompt"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_a_4xx_with_a_reason(server: Scoring, body: Any, words: str) -> None:
    code, text = server.post(body)
    assert 400 <= code < 500
    assert words in json.loads(text)["message"]


def test_twenty_at_once_are_each_answered_rightly(server: Scoring) -> None:
    questions = list(KNOWN) * 5

    def ask(question: str) -> str:
        (answer,) = server.ask({"messages": [{"role": "user", "content": question}], **GREEDY})
        return str(answer["choices"][0]["message"]["content"])

    alone = {question: ask(question) for question in KNOWN}
    assert all(word in alone[question] for question, word in KNOWN.items())
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(ask, questions))
    assert answers == [alone[question] for question in questions]


def test_predict_from_a_file(packaged: Path, tmp_path: Path) -> None:
    asked, out, work = tmp_path / "asked.json", tmp_path / "out.json", tmp_path / "work"
    work.mkdir()
    asked.write_text(json.dumps({"messages": HELLO, "max_tokens": 3}))
    words = ("models", "predict", "-m", str(packaged), "--env-manager", "local", "-i", str(asked), "-o", str(out))
    ended = mlflow(*words, work=work, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(out.read_text())[0]["usage"]["completion_tokens"] == 3
    assert list(work.iterdir()) == []


def test_an_image_has_all_it_needs(packaged: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "image", tmp_path / "work"
    work.mkdir()
    words = ("models", "generate-dockerfile", "-m", str(packaged), "-d", str(out), "--env-manager", "local")
    ended = mlflow(*words, work=work, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    copied = out / "model_dir" / packaged.name
    assert f"COPY model_dir/{packaged.name} /opt/ml/model" in (out / "Dockerfile").read_text()
    assert verify_manifest(copied) == []  # every file came along
    assert (copied / yaml.safe_load((copied / "MLmodel").read_text())["flavors"]["python_function"]["code"]).is_file()
    requirements = [Requirement(line) for line in (copied / "requirements.txt").read_text().splitlines()]
    # What is installed here, and what the tests above ran with, is what an image would be given.
    assert all(requirement.specifier.contains(version(requirement.name)) for requirement in requirements)
    assert "edgechat" not in {requirement.name for requirement in requirements}
    assert str(packaged) not in (copied / "MLmodel").read_text()
    assert list(work.iterdir()) == []
