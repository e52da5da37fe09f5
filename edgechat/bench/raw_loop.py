"""The plainest possible onnxruntime-genai loop, the baseline for `edgechat bench`.

It shares nothing with `engine.genai` except the settings, so that a slow line there cannot hide here. It speaks JSON
lines on standard input and output, because the two are run alternately on a machine whose speed drifts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from edgechat.engine.session_options import model_overlay, session_options


def main() -> int:
    """Load the model named in the first line, then generate one reply per line. Returns the exit code.

    The first line is `{"folder", "threads", "context"}`; each other line is `{"prompt": [ids], "tokens": n}` and is
    answered by `{"tokens", "prefill", "decode"}`, the last two in seconds.
    """
    settings = json.loads(sys.stdin.readline())
    config = og.Config(settings["folder"])
    genai_config = json.loads(Path(settings["folder"], "genai_config.json").read_text(encoding="utf-8"))
    overlay = model_overlay(genai_config.get("model", {}), session_options(settings["threads"]))
    config.overlay(json.dumps({"model": overlay}))
    model = og.Model(config)
    _send({"ready": True})
    for line in sys.stdin:
        task = json.loads(line)
        params = og.GeneratorParams(model)
        params.set_search_options(
            do_sample=True, top_k=50, top_p=0.9, temperature=0.0, repetition_penalty=1.0, max_length=settings["context"]
        )
        generator = og.Generator(model, params)
        began = time.perf_counter()
        generator.append_tokens(task["prompt"])
        prefilled = time.perf_counter()
        first = last = 0.0
        count = 0
        while count < task["tokens"] and not generator.is_done():
            generator.generate_next_token()
            last = time.perf_counter()
            first = first or last
            count += 1
        _send({"tokens": count, "prefill": prefilled - began, "decode": last - first})
    return 0


def _send(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
