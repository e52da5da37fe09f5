"""`log_model`: what a run, the registry and the logged folder say of a model, and that it comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgechat.errors import ModelError
from edgechat.flavor import load_model, log_model

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own imports warn

EXAMPLE = {"messages": [{"role": "user", "content": "Hello"}]}
CONFIG = {"context": 128, "threads": 1, "max_tokens": 3}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in a folder of the test's own, which is what MLflow logs to."""
    import mlflow

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    location = (tmp_path / "artifacts").as_uri()
    experiment = mlflow.MlflowClient(tracking_uri=uri).create_experiment("logged", artifact_location=location)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    return uri


def test_logged_registered_and_loaded_again(tiny_llama: Path, store: str, tmp_path: Path) -> None:
    import mlflow

    with mlflow.start_run() as run:
        info = log_model(
            tiny_llama,
            name="tiny",
            registered_model_name="registered",
            input_example=EXAMPLE,
            metadata={"licence": "apache-2.0"},
            model_config=CONFIG,
            extra_pip_requirements=["extra"],
            tags={"for": "test"},
        )
    assert info.run_id == run.info.run_id
    assert info.registered_model_version == 1
    assert info.metadata == {"name": "tiny", "licence": "apache-2.0"}
    assert info.signature.inputs.input_names()[:2] == ["prompt", "messages"]
    (folder,) = (path.parent for path in (tmp_path / "artifacts").rglob("MLmodel"))
    assert "extra" in (folder / "requirements.txt").read_text().split()
    assert mlflow.MlflowClient(tracking_uri=store).get_logged_model(info.model_id).tags["for"] == "test"

    def answer(model: Any) -> Any:
        (said,) = model.predict({**EXAMPLE, "temperature": 0})
        assert said["usage"]["completion_tokens"] == 3  # as model_config says
        return said["model"], said["choices"]

    native = answer(load_model(info.model_uri))
    assert native[0] == "tiny"
    assert answer(mlflow.pyfunc.load_model("models:/registered/1")) == native


def test_no_model_no_run(store: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="genai_config"):
        log_model(tmp_path, name="nothing")
