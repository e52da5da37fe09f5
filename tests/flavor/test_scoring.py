"""Scoring through MLflow's own loader and through the native one, on random models and on the default model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Event, Finished, Request, Sampling, TextDelta, Timings, Usage
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import ModelError, RequestError
from edgechat.flavor import load_model, save_model
from edgechat.flavor.scoring import ChatModel

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own imports warn

HELLO = [{"role": "user", "content": "Hello"}]
RIVER = [{"role": "user", "content": "Tell me of a river."}]


class Echo:
    """Answers with the last message, in two pieces."""

    info = SimpleNamespace(name="echo")

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        text = request.messages[-1].content
        yield TextDelta(text[:1])
        yield TextDelta(text[1:])
        yield Finished("stop", Usage(4, 3, len(text)), Timings(0, 0, 0))

    def generate_batch(self, requests: list[Request]) -> list[tuple[str, Finished]]:
        end = Finished("stop", Usage(4, 0, 5), Timings(0, 0, 0))
        return [(request.messages[-1].content, end) for request in requests]


@pytest.fixture
def echo() -> ChatModel:
    return ChatModel(Echo())  # type: ignore[arg-type]


def test_prompts_and_conversations_may_be_mixed(echo: ChatModel) -> None:
    text, answer = echo.predict([{"prompt": "one"}, {"messages": HELLO, "n": 2}])
    assert text == "one"
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Hello", "Hello"]
    assert answer["usage"]["total_tokens"] == 4 + 5 + 5


def test_only_one_prompt_streams(echo: ChatModel) -> None:
    assert list(echo.predict_stream("ab")) == ["a", "b"]
    with pytest.raises(RequestError, match="one prompt"):
        echo.predict_stream(["a", "b"])


def test_a_stream_half_read_does_not_hang_its_reader(echo: ChatModel) -> None:
    stream = echo.predict_stream("ab")
    next(stream)
    assert echo.predict("c") == ["c"]
    assert list(stream) == ["b"]


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring") / "tiny"
    save_model(tiny_llama, folder, metadata={"name": "tiny", "architecture": "llama"}, weights="link")
    return folder


def test_the_native_form_is_strict(saved: Path) -> None:
    model = load_model(str(saved), model_config={"context": 128, "threads": 1, "max_tokens": 5})
    first, second = model.predict({"prompt": ["Hello", "Hello"]}, {"temperature": 0.0, "seed": 1})
    assert first == second
    assert "".join(model.predict_stream({"prompt": "Hello"}, {"temperature": 0.0})) == first
    with pytest.raises(RequestError, match="logprobs"):
        model.predict({"messages": HELLO, "logprobs": True})
    with pytest.raises(RequestError, match="longer than the context"):
        model.predict({"prompt": "word " * 500})


def test_ten_thousand_prompts_in_one_call(saved: Path) -> None:
    model = load_model(str(saved), model_config={"context": 256, "threads": 1})
    texts = model.predict({"prompt": [f"{number}" for number in range(10_000)], "max_tokens": 1})
    assert len(texts) == 10_000


@pytest.mark.parametrize(
    ("config", "words"), [({"threads": 0}, "threads"), ({"temprature": 1}, "temprature"), ({"context": "big"}, "int")]
)
def test_settings_that_are_not_usable_are_refused_when_loading(saved: Path, config: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(str(saved), model_config=config)


def test_another_flavor_is_refused_by_name(tmp_path: Path) -> None:
    tmp_path.joinpath("MLmodel").write_text("flavors:\n  sklearn: {}\n")
    with pytest.raises(ModelError, match="sklearn"):
        load_model(str(tmp_path))
    with pytest.raises(ModelError, match="MLmodel"):
        load_model(str(tmp_path.parent))


@pytest.fixture(scope="module")
def served(default_genai: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The default model, saved by the flavor and loaded by MLflow."""
    from mlflow.pyfunc import load_model as load_pyfunc

    folder = tmp_path_factory.mktemp("served") / "model"
    save_model(default_genai, folder, metadata={"name": "smollm2"}, weights="link")
    return load_pyfunc(str(folder), model_config={"context": 1024})


@pytest.mark.model
class TestThroughMlflow:
    """The default model behind `mlflow.pyfunc`."""

    def test_a_prompt_gives_a_text(self, served: Any) -> None:
        params = {"max_tokens": 8, "temperature": 0, "seed": 1}
        (text,) = served.predict({"prompt": "What is 2+2?"}, params=params)
        assert "4" in served.predict({"prompt": "What is 2+2?", "max_tokens": 20, "temperature": 0})[0]
        assert served.predict({"prompt": ["What is 2+2?"] * 2}, params=params) == [text, text]
        assert served.predict(pd.DataFrame({"prompt": ["What is 2+2?"]}), params=params) == [text]
        assert "".join(served.predict_stream({"prompt": "What is 2+2?"}, params=params)) == text

    def test_messages_give_a_chat_answer(self, served: Any) -> None:
        (answer,) = served.predict({"messages": HELLO, "max_tokens": 4, "temperature": 0.0})
        assert answer["object"] == "chat.completion"
        assert answer["id"].startswith("chatcmpl-")
        assert answer["model"] == "smollm2"
        (choice,) = answer["choices"]
        assert choice["message"]["role"] == "assistant"
        assert choice["message"]["content"]
        assert choice["finish_reason"] == "length"
        usage = answer["usage"]
        assert usage["completion_tokens"] == 4
        assert usage["total_tokens"] == usage["prompt_tokens"] + 4
        (whole,) = served.predict({"messages": HELLO, "max_tokens": 200, "temperature": 0.0})
        assert whole["choices"][0]["finish_reason"] == "stop"

    def test_the_next_turn_reuses_the_prefix(self, served: Any) -> None:
        (first,) = served.predict({"messages": RIVER, "max_tokens": 12, "temperature": 0, "seed": 1})
        reply = first["choices"][0]["message"]
        (second,) = served.predict({"messages": [*RIVER, reply, *HELLO], "max_tokens": 4, "temperature": 0})
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached >= first["usage"]["prompt_tokens"]

    def test_several_choices_differ(self, served: Any) -> None:
        asked = {"messages": RIVER, "n": 3, "max_tokens": 24, "temperature": 1.5, "top_p": 1.0}
        (answer,) = served.predict(asked)
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
        assert answer["usage"]["completion_tokens"] > 24
        (seeded,) = served.predict({**asked, "seed": 5})
        (again,) = served.predict({**asked, "seed": 5})
        assert seeded["choices"] == again["choices"]

    def test_chunks_make_the_answer(self, served: Any) -> None:
        asked = {"messages": RIVER, "max_tokens": 16, "temperature": 1.0, "seed": 3}
        chunks = list(served.predict_stream(asked))
        (answer,) = served.predict(asked)
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas[0]["role"] == "assistant"
        text = "".join(delta.get("content", "") for delta in deltas)
        assert text == answer["choices"][0]["message"]["content"]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["choices"][0]["finish_reason"] == answer["choices"][0]["finish_reason"]
        assert chunks[-1]["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]

    def test_a_stop_string_ends_the_reply_and_is_not_shown(self, served: Any) -> None:
        asked = {"messages": RIVER, "max_tokens": 40, "temperature": 0, "seed": 1}
        (answer,) = served.predict(asked)
        whole = answer["choices"][0]["message"]["content"]
        stop = whole[20:27]  # in the middle of words and tokens
        (cut,) = served.predict({**asked, "stop": [stop, "never said"]})
        assert cut["choices"][0]["message"]["content"] == whole[: whole.index(stop)]
        assert cut["choices"][0]["finish_reason"] == "stop"
        deltas = [chunk["choices"][0]["delta"] for chunk in served.predict_stream({**asked, "stop": stop})]
        assert "".join(delta.get("content", "") for delta in deltas) == whole[: whole.index(stop)]

    def test_frames_and_lists_of_conversations(self, served: Any) -> None:
        rows = [{"messages": HELLO, "max_tokens": 3}, {"messages": RIVER, "max_tokens": 5}]
        for data in (rows, pd.DataFrame(rows)):
            answers = served.predict(data)
            assert [answer["usage"]["completion_tokens"] for answer in answers] == [3, 5]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"messages": []}, "No messages"),
            ({"messages": "Hello"}, "messages"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "tool"),
            ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "content"),
            ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "name"),
            ({"messages": HELLO, "max_tokens": -1}, "max_tokens"),
            ({"messages": HELLO, "temperature": 3}, "temperature"),
            ({"messages": HELLO, "n": 0}, r"\.n"),
            ({"prompt": "word " * 5000}, "longer than the context"),
        ],
    )
    def test_bad_input_is_the_callers_fault(self, served: Any, data: Any, words: str) -> None:
        from mlflow.exceptions import MlflowException

        with pytest.raises(MlflowException, match=words) as caught:
            served.predict(data)
        assert caught.value.get_http_status_code() == 400

    async def test_the_same_text_as_in_the_chat(self, served: Any, default_genai: Path) -> None:
        sampling = Sampling(temperature=0.8, top_p=0.95, repetition_penalty=1.1, seed=42)
        engine = EngineClient(ModelSource(default_genai, "model"), EngineOptions(context=1024))
        request = Request((Message("user", "Tell me of a river."),), sampling, 32)
        try:
            events = [event async for event in engine.stream(request)]
        finally:
            await engine.aclose()
        params = {"temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.1, "seed": 42, "max_tokens": 32}
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert served.predict({"prompt": "Tell me of a river."}, params=params) == [text]
        (answer,) = served.predict({"messages": RIVER, **params})
        assert answer["choices"][0]["message"]["content"] == text

    def test_a_stream_that_nobody_reads_on_holds_nobody_up(self, served: Any) -> None:
        stream = served.predict_stream({"messages": RIVER, "max_tokens": 200, "temperature": 0})
        next(stream)
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(served.predict({"prompt": "Hi", "max_tokens": 4})))
        asking.start()
        asking.join(timeout=120)
        assert len(answers) == 1
        assert sum("content" in chunk["choices"][0]["delta"] for chunk in stream) > 10
        half = served.predict_stream({"prompt": "Tell me of a river.", "max_tokens": 400})
        next(half)
        half.close()
        assert served.predict({"prompt": "Hi", "max_tokens": 4, "seed": 1})

    def test_calls_from_several_threads_do_not_mix(self, served: Any) -> None:
        asked = {"prompt": "Tell me of a river.", "max_tokens": 12, "temperature": 1.0, "seed": 9}
        expected = served.predict(asked)
        answers: list[Any] = [None] * 4

        def ask(number: int) -> None:
            answers[number] = served.predict(asked)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [expected] * 4


ELSEWHERE = """
import sys
from pathlib import Path
sys.path = [path for path in sys.path if not Path(path, "edgechat").is_dir()]
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1], model_config={"context": 128, "threads": 1})
assert len(model.predict({"prompt": "Hello", "max_tokens": 2})) == 1
import edgechat
assert ".zip" in edgechat.__file__, edgechat.__file__
"""


def test_a_model_is_served_where_edgechat_is_not_installed(saved: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"}
    ran = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", ELSEWHERE, saved],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.rglob("*.db")) == []


def test_loading_through_mlflow_leaves_no_trace(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.pyfunc import load_model as load_pyfunc

    monkeypatch.chdir(tmp_path)
    model = load_pyfunc(str(saved), model_config={"context": 128, "threads": 1})
    assert len(model.predict({"prompt": "Hello", "max_tokens": 2})) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "edgechat-home"] == []
