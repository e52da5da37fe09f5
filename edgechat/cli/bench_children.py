"""The child processes of `edgechat bench`: the chat with a stopwatch, the ids of a prompt, and scoring by MLflow."""

from __future__ import annotations

import json
from pathlib import Path

from edgechat.cli.opening import engine_for
from edgechat.config import load_config
from edgechat.engine.base import Sampling
from edgechat.history.store import HistoryStore


def tui(out: str, task: str) -> int:
    """Run the chat in this terminal and write what the stopwatch said.

    Args:
        out: The file to write.
        task: A JSON object with `history`, `model_uri`, `prompt` and `tokens`.

    Returns:
        The exit code.
    """
    from edgechat.tui.bench import BenchApp, TimedSession

    asked = json.loads(task)
    session = TimedSession(
        engine_for(load_config(model_uri=asked["model_uri"])),
        HistoryStore.open(Path(asked["history"])),
        sampling=Sampling(temperature=0, repetition_penalty=1),
        max_tokens=asked["tokens"],
    )
    app = BenchApp(session, asked["prompt"])
    app.run()
    Path(out).write_text(json.dumps(app.result), encoding="utf-8")
    return app.return_code or 0


def ids(folder: str, prompt: str) -> int:
    """Print the ids of a chat with one message.

    Args:
        folder: The ONNX GenAI folder.
        prompt: The message.

    Returns:
        The exit code.
    """
    import sys

    from edgechat.chat.conversation import Message
    from edgechat.engine.genai import GenaiModel

    sys.stdout.write(json.dumps(GenaiModel(Path(folder)).encode([Message("user", prompt)])))
    return 0


def scoring() -> int:
    """Answer lines of JSON through mlflow.pyfunc, with the seconds each call took.

    The first line is `{"model", "threads", "context"}`; each other is `{"calls": [{"input", "params"}, ...]}` and is
    answered by `{"tokens", "seconds"}`, the tokens those of chat answers.

    Returns:
        The exit code.
    """
    import sys
    import time
    import warnings

    warnings.simplefilter("ignore")  # MLflow's own imports warn
    from mlflow.pyfunc import load_model

    settings = json.loads(sys.stdin.readline())
    load = {"threads": settings["threads"], "context": settings["context"]}
    model = load_model(settings["model"], model_config=load)
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - the answer is for the parent
    for line in sys.stdin:
        calls = json.loads(line)["calls"]
        began = time.perf_counter()
        # As parameters of the call: a signature of an older edgechat has no columns for them, and MLflow drops those.
        answers = [answer for call in calls for answer in model.predict(call["input"], params=call["params"])]
        seconds = time.perf_counter() - began
        tokens = sum(answer["usage"]["completion_tokens"] for answer in answers if isinstance(answer, dict))
        print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)  # noqa: T201
    return 0
