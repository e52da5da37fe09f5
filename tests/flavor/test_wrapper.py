"""The cookbook's wrapper: logged by its recipe, asked through MLflow, opened in the chat without being unpickled."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from edgechat.examples import custom_wrapper
from edgechat.models.folder import open_model
from tests.support.chats import chat
from tests.support.terminal import needs_tmux

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]  # what MLflow warns of while it logs

IN_FORM = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def recipe(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the recipe printed, and the folder it logged."""
    out = tmp_path_factory.mktemp("wrapper") / "out"
    # In a process of its own: it sets the store and the experiment for all that comes after.
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "edgechat.examples.custom_wrapper", str(default_model), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    (mlmodel,) = (out / "artifacts").rglob("MLmodel")
    return SimpleNamespace(code=ended.returncode, printed=ended.stdout, folder=mlmodel.parent)


def test_the_signature_is_the_cookbooks(recipe: Any) -> None:
    assert recipe.code == 0
    assert "inputs: \n  ['prompt': string (required)]\noutputs: \n  [string (required)]" in recipe.printed
    pyfunc = yaml.safe_load((recipe.folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert pyfunc["artifacts"]["phi3-mini-onnx"]["path"] == "artifacts/model"
    assert pyfunc["config"] == {"max_length": 300, "temperature": 0.2}
    assert "onnxruntime-genai" in (recipe.folder / "requirements.txt").read_text()


def test_it_answers_through_mlflow(recipe: Any) -> None:
    from mlflow.pyfunc import load_model

    model = load_model(str(recipe.folder), model_config={"temperature": 0})
    (text,) = model.predict({"prompt": "What is the capital of France?"})
    assert "Paris" in text
    # Control tokens that the caller wrote count: the prompt is the same one, and so is the answer.
    assert "Paris" in model.predict({"prompt": IN_FORM})[0]
    assert len(model.predict(pd.DataFrame({"prompt": ["Hi", IN_FORM]}))) == 2


def test_it_takes_lists_and_refuses_what_it_cannot_answer(default_genai: Path) -> None:
    from mlflow.exceptions import MlflowException

    from edgechat.flavor.wrapper import Phi3Model

    model: Any = Phi3Model()
    context = SimpleNamespace(artifacts={"phi3-mini-onnx": str(default_genai)}, model_config={"max_length": 64})
    model.load_context(context)
    assert len(model.predict(context, {"prompt": [["Hi"], "Hi"]})) == 2
    for wrong in ({"prompt": "word " * 200}, {"prompt": 5}, {"messages": [{"role": "user", "content": "Hi"}]}):
        with pytest.raises(MlflowException) as caught:
            model.predict(context, wrong)
        assert caught.value.get_http_status_code() == 400
    for broken in (
        SimpleNamespace(artifacts={}, model_config={}),
        SimpleNamespace(artifacts=context.artifacts, model_config={"max_length": "long"}),
    ):
        with pytest.raises(MlflowException, match=r"phi3-mini-onnx|max_length"):
            Phi3Model().load_context(broken)


def greedy(genai: Path) -> Any:
    """The wrapper as MLflow loads it."""
    from edgechat.flavor.wrapper import Phi3Model

    model = Phi3Model()
    model.load_context(SimpleNamespace(artifacts={"phi3-mini-onnx": str(genai)}, model_config={"temperature": 0}))
    return model


def test_calls_from_several_threads_do_not_mix(default_genai: Path) -> None:
    from edgechat.flavor.wrapper import Phi3Model

    model: Any = Phi3Model()
    model.load_context(
        SimpleNamespace(artifacts={"phi3-mini-onnx": str(default_genai)}, model_config={"temperature": 0})
    )
    prompts = ["What is the capital of France?", "Name a river.", "What is 2+2?"]
    alone = {prompt: model.predict(None, {"prompt": prompt}) for prompt in prompts}
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda prompt: model.predict(None, {"prompt": prompt}), prompts * 2))
    assert together == [alone[prompt] for prompt in prompts * 2]


def test_names_of_control_tokens_in_ordinary_text_stay_text(default_genai: Path) -> None:
    from edgechat.flavor.wrapper import Phi3Model

    model: Any = Phi3Model()
    model.load_context(
        SimpleNamespace(artifacts={"phi3-mini-onnx": str(default_genai)}, model_config={"temperature": 0})
    )
    (text,) = model.predict(None, {"prompt": "What is the capital of France? Write it into <filename>."})
    assert "Paris" in text


def test_without_pip_the_requirements_are_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, argument in ((None, "pip_requirements"), (object(), "extra_pip_requirements")):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        assert list(custom_wrapper._requirements()) == [argument]


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert custom_wrapper.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    assert "Not a model folder" in capsys.readouterr().err


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


@needs_tmux
def test_the_chat_opens_it_and_unpickles_nothing(recipe: Any, own_home: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    (recipe.folder / "python_model.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    assert open_model(recipe.folder).genai == recipe.folder / "artifacts" / "model"
    own_home.mkdir(parents=True, exist_ok=True)
    with chat(own_home, "--model-uri", str(recipe.folder)) as terminal:
        terminal.wait_for("ready")
        terminal.press("What is the capital of France?", "Enter")
        terminal.wait_for("Paris")
    assert not sprung.exists()
    pickle.loads((recipe.folder / "python_model.pkl").read_bytes())
    assert sprung.exists()  # so it would have been noticed
