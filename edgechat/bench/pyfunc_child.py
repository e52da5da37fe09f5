"""The child process of `edgechat bench --scoring`: a saved model behind `mlflow.pyfunc`, with timings."""

from __future__ import annotations

import json
import sys
import time
import warnings


def main() -> int:
    """Answer lines of JSON through mlflow.pyfunc, with the duration of each call.

    The first line is `{"model", "threads", "context"}`; each other is `{"calls": [{"input", "params"}, ...]}` and is
    answered by `{"tokens", "seconds"}`, where tokens are those of the chat answers.

    Returns:
        The exit code.
    """
    warnings.simplefilter("ignore")  # MLflow's own imports emit warnings
    from mlflow.pyfunc import load_model

    settings = json.loads(sys.stdin.readline())
    load = {"threads": settings["threads"], "context": settings["context"]}
    model = load_model(settings["model"], model_config=load)
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - the answer is for the parent
    for line in sys.stdin:
        calls = json.loads(line)["calls"]
        began = time.perf_counter()
        # As parameters of the call: a signature from an older edgechat lacks columns for them, which MLflow then drops.
        answers = [answer for call in calls for answer in model.predict(call["input"], params=call["params"])]
        seconds = time.perf_counter() - began
        tokens = sum(answer["usage"]["completion_tokens"] for answer in answers if isinstance(answer, dict))
        print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)  # noqa: T201
    return 0
