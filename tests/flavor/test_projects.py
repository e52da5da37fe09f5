"""`mlflow run` on the project that comes with edgechat: every entry point, on real models, and what the runs tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgechat.examples
from edgechat.errors import ConfigError
from edgechat.examples.evaluate import QUESTIONS, Answer, read_questions
from edgechat.registry.pull import pull
from edgechat.registry.push import push
from tests.support.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.filterwarnings("default"),  # MLflow's own imports warn
    pytest.mark.model,
    pytest.mark.slow,
]

PROJECT = Path(edgechat.examples.__file__).parent
EXPERIMENT = "project"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def store(folder: Path) -> str:
    """A tracking store with an experiment that keeps its files beside it."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(tracking_uri=uri).create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    return uri


def mlflow_run(entry_point: str, store: str, work: Path, **parameters: object) -> subprocess.CompletedProcess[str]:
    """The real command, in an empty working directory that stays empty."""
    work.mkdir()
    words = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
    ended = subprocess.run(
        ["mlflow", "run", PROJECT, "-e", entry_point, "--env-manager=local", "--experiment-name", EXPERIMENT, *words],
        cwd=work,
        # As in an environment that is active.
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert list(work.iterdir()) == []
    return ended


def runs(store: str, entry_point: str, status: str = "FINISHED") -> list[Any]:
    """The runs of an entry point that ended so, those with the most hits first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs(
        [experiment.experiment_id],
        f"tags.`mlflow.project.entryPoint` = '{entry_point}' AND status = '{status}'",
        order_by=["metrics.keyword_hit_rate DESC"],
    )
    return list(found)


def test_evaluate_makes_two_versions_comparable(
    default_genai: Path, tiny_llama: Path, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    """From a registry over this device and back: pushed, pulled, asked off line, and logged."""
    server = mlflow_server.uri
    for version, genai in {"1": tiny_llama, "2": default_genai}.items():
        push(genai, register="evaluated", tracking_uri=server)
        uri = f"models:/evaluated/{version}"
        pull(uri, tracking_uri=server)
        ended = mlflow_run("evaluate", server, tmp_path / version, model_uri=uri, max_tokens=12)
        assert ended.returncode == 0, ended.stderr
        assert "keyword_hit_rate" in json.loads(ended.stdout)
        assert f"{uri} is version {version}, pulled" in ended.stderr
    better, worse = runs(server, "evaluate")
    assert (better.data.params["model_version"], worse.data.params["model_version"]) == ("2", "1")
    assert better.data.params["model"] == worse.data.params["model"] == "evaluated"
    # The first version is noise.
    assert better.data.metrics["keyword_hit_rate"] > 0.3 > worse.data.metrics["keyword_hit_rate"]
    assert set(better.data.metrics) == set(worse.data.metrics)
    assert better.data.metrics["answered_share"] == 1
    assert 1 < better.data.metrics["mean_completion_tokens"] <= 12
    assert better.data.metrics["tokens_per_second"] > 0
    assert better.data.metrics["ttft_seconds"] > 0

    from mlflow import MlflowClient

    file = MlflowClient(tracking_uri=server).download_artifacts(better.info.run_id, "answers.json", str(tmp_path))
    table = json.loads(Path(file).read_text())
    asked = [row[table["columns"].index("question")] for row in table["data"]]
    assert asked == [question.question for question in read_questions(QUESTIONS)]
    # By this MLflow's UI finds the tables that it shows side by side.
    assert json.loads(better.data.tags["mlflow.loggedArtifacts"]) == [{"path": "answers.json", "type": "table"}]


def test_a_run_of_its_own_is_made_without_mlflow_run(tiny_llama: Path, store: str, tmp_path: Path) -> None:
    own = tmp_path / "questions.json"
    own.write_text('[{"question": "What is 2+2?", "keywords": ["4"]}]')
    command = [sys.executable, "-P", "-m", "edgechat.examples.evaluate", "--model-uri", str(tiny_llama)]
    command += ["--questions", str(own), "--tracking-uri", store, "--experiment", "by-hand"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=store).get_run(json.loads(ended.stdout)["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["question_count"] == "1"


def test_bench_logs_its_ratios(home_with_model: Path, store: str, folder: Path, tmp_path: Path) -> None:
    name = "smollm2-135m-instruct"
    ended = mlflow_run("bench", store, tmp_path / "work", model_uri=name, rounds=1, tokens=8)
    assert ended.returncode == 0, ended.stderr
    (run,) = runs(store, "bench")
    told = json.loads(ended.stdout)
    assert run.data.metrics["decode_client_ratio"] == told["figures"]["decode_client"]["ratio"]
    assert run.data.metrics["worker_memory_bytes"] == told["figures"]["worker_memory"]["bytes"]
    assert run.data.params["model"] == name
    assert json.loads((folder / "artifacts" / run.info.run_id / "artifacts/bench.json").read_text()) == told


def test_package(default_gguf: Path, store: str, tmp_path: Path) -> None:
    out = tmp_path / "packaged"
    out.mkdir()
    ended = mlflow_run("package", store, tmp_path / "work", source=default_gguf, out=out, name="mine")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == str(out)
    assert "name: mine" in (out / "MLmodel").read_text()
    assert len(runs(store, "package")) == 1


def test_a_missing_model_fails_the_run_and_is_told(store: str, tmp_path: Path) -> None:
    ended = mlflow_run("evaluate", store, tmp_path / "work", model_uri="nowhere")
    assert ended.returncode != 0
    assert 'No model called "nowhere"' in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(runs(store, "evaluate", "FAILED")) == 1


def answer(text: str) -> Answer:
    from edgechat.engine.protocol import Finished, Timings, Usage

    return Answer(text, Finished("stop", Usage(1, 0, 1), Timings(0, 0, 0)))


def test_a_keyword_is_a_word() -> None:
    gold, four = (
        next(question for question in read_questions(QUESTIONS) if word in question.question)
        for word in ("gold", "2 + 2")
    )
    assert answer("It is Au.").hits(gold)
    assert not answer("Because of its colour.").hits(gold)
    assert answer("**4**").hits(four)
    assert answer("It is FOUR").hits(four)
    assert not answer("It is 42.").hits(four)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "none"),
        ("[", "truncated"),
        ('[{"question": "x"}]', "keywords"),
        ('[{"question": "x", "keywords": []}]', "keywords"),
        ('[{"question": "", "keywords": ["y"]}]', "question"),
    ],
)
def test_questions_that_cannot_be_asked(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "questions.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_questions(file)
    with pytest.raises(ConfigError, match="No such file"):
        read_questions(tmp_path / "nowhere")
