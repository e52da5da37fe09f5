"""Running a model folder with onnxruntime-genai, as far as comparing logits and speed needs it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime_genai as og

from edgechat.engine.session_options import model_overlay, session_options

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, *, overlay: str = "{}") -> Any:
    config = og.Config(str(folder))
    config.overlay(json.dumps({"model": model_overlay({}, session_options(2))}))
    config.overlay(overlay)
    return og.Model(config)


def with_float_activations(folder: Path) -> Path:
    """Makes a model compute in float32 throughout: slow, and free of the rounding that hides small mistakes."""
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    onnx.save_model(model, str(folder / "model.onnx"))
    return folder


def generator(model: Any, max_length: int) -> Any:
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=max_length, min_length=max_length - 1, do_sample=False)
    return og.Generator(model, params)


def logits_of(model: Any, ids: list[int], *, prompt: int = 0) -> npt.NDArray[np.float32]:
    """Logits after ids[prompt - 1] and every later id: the first `prompt` ids in one call, the others one by one."""
    running = generator(model, len(ids) + 8)
    pieces = [ids[:prompt]] if prompt else []
    rows = []
    for piece in [*pieces, *([token] for token in ids[prompt:])]:
        running.append_tokens(np.array([piece], np.int32))
        logits = np.asarray(running.get_logits(), np.float32)
        assert logits.shape[:2] == (1, 1), "the head runs for the last position only"
        rows.append(logits.reshape(-1))
    return np.stack(rows)


def speed_ratio(model: Any, baseline: Any, *, rounds: int = 30, tokens: int = 10) -> float:
    """Decode speed of a model over that of a baseline.

    The two take turns of a few tokens, and each turn is compared with the baseline's next to it, so that what other
    processes take away is taken from both; the median drops the turns where it was not.
    """
    runs = [generator(each, rounds * tokens + 64) for each in (model, baseline)]
    for running in runs:
        running.append_tokens(np.arange(100, 132, dtype=np.int32)[None])
        running.generate_next_token()
    taken = np.zeros((rounds, 2))
    for turn in range(rounds):
        for place, running in enumerate(runs):
            # Threads of the other model still spin for a moment after its last token.
            time.sleep(0.02)
            start = time.perf_counter()
            for _ in range(tokens):
                running.generate_next_token()
            taken[turn, place] = time.perf_counter() - start
    return float(np.median(taken[:, 1] / taken[:, 0]))
