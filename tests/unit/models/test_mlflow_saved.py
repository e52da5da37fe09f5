"""Folders that MLflow itself saved, opened without it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgechat.models.folder import open_model
from edgechat.models.store import ModelStore

pytest.importorskip("pandas")
# What MLflow warns of while it is imported and while it saves is not about opening.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def pyfunc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """mlflow.pyfunc, with nothing of it reaching beyond this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    import mlflow.pyfunc

    return mlflow.pyfunc


def test_a_pickled_wrapper(pyfunc: Any, genai: Path, tmp_path: Path) -> None:
    class Wrapper(pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:
            return []

    pyfunc.save_model(
        str(tmp_path / "saved"),
        python_model=Wrapper(),
        artifacts={"any-key": str(genai)},
        pip_requirements=["x"],
        metadata={"licence": "MIT"},
    )
    assert (tmp_path / "saved" / "python_model.pkl").exists()
    model = open_model(tmp_path / "saved")
    assert model.genai == tmp_path / "saved" / "artifacts" / "bare"
    assert model.licence == "MIT"
    assert model.mlflow is not None
    assert model.mlflow.flavors == ("python_function",)
    assert model.mlflow.mlflow_version == sys.modules["mlflow"].__version__
    assert ModelStore().add(tmp_path / "saved", "phi3").architecture == "llama"


CODE = """\
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Wrapper(PythonModel):
    def predict(self, context, model_input: list[str], params=None) -> list[str]:
        return []

set_model(Wrapper())
"""


def test_models_from_code(pyfunc: Any, genai: Path, tmp_path: Path) -> None:
    (tmp_path / "wrapper.py").write_text(CODE)
    pyfunc.save_model(
        str(tmp_path / "saved"), python_model="wrapper.py", artifacts={"og": str(genai)}, pip_requirements=["x"]
    )
    model = open_model(tmp_path / "saved")
    assert model.genai == tmp_path / "saved" / "artifacts" / "bare"
    assert model.mlflow is not None
    assert json.loads(model.mlflow.inputs) == [{"type": "string", "required": True}]


def test_a_flavor_with_data(pyfunc: Any, tmp_path: Path, make_genai: Callable[..., Path]) -> None:
    from mlflow.models import Model

    root = tmp_path / "saved"
    make_genai(root / "genai")
    model = Model()
    pyfunc.add_to_model(model, loader_module="edgechat.flavor", data="genai", streamable=True)
    model.add_flavor("edgechat", data="genai")
    model.save(str(root / "MLmodel"))
    opened = open_model(root)
    assert opened.genai == root / "genai"
    assert opened.mlflow is not None
    assert set(opened.mlflow.flavors) == {"python_function", "edgechat"}
