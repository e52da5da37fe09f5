"""Scoring: every dress a row may come in, and a real (random) model through MLflow's own loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.base import Event, Finished, Request, Sampling, TextDelta, Timings, Usage
from edgechat.errors import EngineError
from edgechat.flavor import _load_pyfunc, save_model
from edgechat.flavor.scoring import PromptModel, requests

CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


class Echo:
    """Answers with the last message, in two pieces."""

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        text = request.messages[-1].content
        yield TextDelta(text[:1])
        if text[1:]:
            yield TextDelta(text[1:])
        yield Finished("stop", Usage(1, 0, 1), Timings(0, 0, 0))


@pytest.fixture
def echo() -> PromptModel:
    return PromptModel(Echo())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        {"prompt": ["one", "two"]},
        [{"prompt": "one"}, {"prompt": "two"}],
        ["one", "two"],
        {"prompt": np.array(["one", "two"], dtype=object)},
        pd.DataFrame({"prompt": ["one", "two"]}),
        pd.DataFrame({"prompt": [["one"], np.array(["two"], dtype=object)]}),
        pd.DataFrame({"prompt": ["one", "two"], "messages": [None, float("nan")]}),
        pd.Series(["one", "two"]),
    ],
)
def test_prompts(echo: PromptModel, data: Any) -> None:
    if isinstance(data, pd.Series):
        data = data.to_frame("prompt")
    assert echo.predict(data) == ["one", "two"]


@pytest.mark.parametrize("data", [{"prompt": "one"}, "one", {"prompt": ["one"]}, [{"prompt": ["one"]}]])
def test_one_prompt(echo: PromptModel, data: Any) -> None:
    assert echo.predict(data) == ["one"]
    assert list(echo.predict_stream(data)) == ["o", "ne"]


@pytest.mark.parametrize(
    "data",
    [
        {"messages": CHAT},
        {"messages": [CHAT]},
        [{"messages": CHAT}],
        pd.DataFrame({"messages": [CHAT]}),
        pd.DataFrame({"messages": [np.array(CHAT, dtype=object)], "prompt": [None]}),
    ],
)
def test_messages(data: Any) -> None:
    (request,) = requests(data)
    assert request.messages == (Message("system", "Be kind."), Message("user", "Hi"))


def test_parameters_of_the_row_win() -> None:
    rows = pd.DataFrame({"prompt": ["a", "b"], "max_tokens": [5, float("nan")]})
    first, second = requests(rows, {"temperature": 0.0, "max_tokens": 9, "seed": None})
    assert (first.max_tokens, second.max_tokens) == (5, 9)
    assert first.sampling == Sampling(temperature=0.0)


@pytest.mark.parametrize(
    "data",
    [{}, {"prompt": None}, {"prompt": []}, {"prompt": 5}, [{"text": "x"}], 5, {"messages": [{"role": "tool"}]}],
)
def test_rows_without_a_prompt_are_refused(echo: PromptModel, data: Any) -> None:
    with pytest.raises(EngineError):
        echo.predict(data)


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(EngineError, match="number"):
        requests("hi", {"temperature": "warm"})


def test_only_one_prompt_streams(echo: PromptModel) -> None:
    with pytest.raises(EngineError, match="one prompt"):
        list(echo.predict_stream(["a", "b"]))


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring") / "tiny"
    save_model(folder, tiny_llama, name="tiny", metadata={"architecture": "llama"}, weights="link")
    return folder


def test_a_real_engine_answers(saved: Path) -> None:
    model = _load_pyfunc(str(saved / "model"), {"context": 128, "threads": 1})
    params = {"max_tokens": 5, "temperature": 0.0}
    answers = model.predict({"prompt": ["Hello", "Hello"]}, params)
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert "".join(model.predict_stream({"prompt": "Hello"}, params)) == answers[0]


@pytest.mark.filterwarnings("default")  # MLflow's own imports warn
def test_mlflow_loads_and_checks(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    monkeypatch.chdir(tmp_path)
    model = load_model(str(saved), model_config={"context": 128, "threads": 1})
    params = {"max_tokens": 4, "temperature": 0.0}
    one = model.predict({"prompt": "Hello"}, params=params)
    assert len(one) == 1
    assert model.predict({"prompt": ["Hello", "Hello"]}, params=params) == one * 2
    assert model.predict(pd.DataFrame({"prompt": ["Hello"]}), params=params) == one
    assert model.predict({"messages": [{"role": "user", "content": "Hello"}]}, params=params) == one
    assert "".join(model.predict_stream({"prompt": "Hello"}, params=params)) == one[0]
    with pytest.raises(MlflowException):
        model.predict({"messages": "Hello"})
    assert list(tmp_path.glob("mlflow*")) == list(tmp_path.glob("mlruns*")) == []
