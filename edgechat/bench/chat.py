"""Measures the overhead of chatting over a plain loop around the same model: speed, memory, time to first paint."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgechat.bench.measure import peak_memory
from edgechat.bench.processes import PROMPT, RawLoop, in_terminal, prompt_ids, run_in_terminal
from edgechat.bench.report import MEGABYTE, figure, say, speed
from edgechat.chat.conversation import Message
from edgechat.engine import resources
from edgechat.engine.protocol import Finished, Request, Sampling, TextDelta
from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.session.factory import engine_for, locate
from edgechat.settings.schema import Config

GREEDY = Sampling(temperature=0, repetition_penalty=1)
OVERHEAD = 150 * MEGABYTE
"""Bytes the worker may use beyond the weights and the KV cache."""


# A trivial application: the time Textual itself takes to paint.
TRIVIAL = """
import sys, time
from textual.app import App
from textual.widgets import Static
class Trivial(App):
    def compose(self):
        yield Static("hello")
    def on_mount(self):
        self.call_after_refresh(self.painted)
    def painted(self):
        self.at = time.monotonic()
        self.exit()
app = Trivial()
app.run()
open(sys.argv[1], "w").write('{"painted": %r}' % app.at)
"""


async def measure(config: Config, rounds: int, tokens: int, *, tui: bool) -> dict[str, Any]:
    """Measure the chat in the worker and, with `tui`, in a terminal.

    Raises:
        ModelError: The model is not one of onnxruntime-genai's, whose own loop everything is compared with.
    """
    say("finding the model")
    source = await locate(config.model_uri)(lambda progress: None)
    if source.kind != "genai":
        raise ModelError(
            "Model cannot be measured",
            Sentence(
                "{name} is run by {kind}; everything here is compared with onnxruntime-genai's own loop.",
                name=source.name,
                kind=source.kind,
            ),
            "Turn it into an ONNX model with `edgechat package`, and measure that.",
        )
    genai_config = json.loads((source.folder / "genai_config.json").read_text(encoding="utf-8"))
    prompt = await prompt_ids(source)
    figures: dict[str, dict[str, Any]] = {}
    pairs: list[tuple[float, float]] = []
    drawn: list[tuple[float, float]] = []
    lags: list[float] = []
    for number in range(rounds):
        # New processes each round, because where the weights are placed in memory alone makes a difference of a few
        # percent.
        say(f"decoding through the worker, {number + 1} of {rounds}")
        client = engine_for(config)
        try:
            info = await client.start()
            raw = await RawLoop.load(source.folder, info.threads, info.context)
            try:
                await _one_reply(client, tokens)
                await raw.reply(prompt, tokens)
                pairs += [(await _one_reply(client, tokens), await raw.reply(prompt, tokens)) for _ in range(2)]
                weights = sum(path.stat().st_size for path in source.folder.glob("*.onnx*"))
                kv = resources.kv_bytes_per_token(genai_config) * info.context
                figures["worker_memory"] = _memory(client.pid, weights, kv)
                await client.aclose()
                if tui:
                    say(f"decoding while the chat draws, {number + 1} of {rounds}")
                    result = await in_terminal(config.model_uri, PROMPT, tokens)
                    drawn.append((speed(result["tokens"], result["decode"]), await raw.reply(prompt, tokens)))
                    lags.append(result["lag"])
            finally:
                await raw.aclose()
        finally:
            await client.aclose()
    figures["decode_client"] = figure(pairs, "tokens/s", at_least=0.97)
    if tui:
        figures["decode_tui"] = figure(drawn, "tokens/s", at_least=0.85)
        figures["ui_worst_lag"] = {"seconds": max(lags), "at_most": 0.05, "met": max(lags) <= 0.05}
        if not getattr(sys, "frozen", False):
            figures["first_paint"] = figure(await _paints(config.model_uri, rounds), "seconds", at_most=1.3)
    return {
        "model": info.name,
        "context": info.context,
        "threads": info.threads,
        "rounds": rounds,
        "tokens": tokens,
        "figures": figures,
    }


def _memory(pid: int | None, weights: int, kv: int) -> dict[str, Any]:
    """Report the worker's peak resident memory so far."""
    peak = peak_memory(pid)
    if peak is None:
        return {"unknown": "this system does not tell"}
    bound = weights + kv + OVERHEAD
    return {"bytes": peak, "weights": weights, "kv": kv, "at_most": bound, "met": peak <= bound}


async def _one_reply(client: Any, tokens: int) -> float:
    """Return the decode speed seen by the stream's consumer."""
    first = last = 0.0
    request = Request((Message("user", PROMPT),), GREEDY, tokens)
    async for event in client.stream(request):
        if isinstance(event, TextDelta):
            last = time.perf_counter()
            first = first or last
        elif isinstance(event, Finished):
            return speed(event.usage.completion, last - first)
    raise AssertionError("a stream ends with Finished")


async def _paints(model_uri: str | None, rounds: int) -> list[tuple[float, float]]:
    """Return seconds from process start to first paint, for edgechat and the trivial application."""
    pairs = []
    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        history = Path(folder) / "history.db"
        for number in range(rounds + 1):
            say(f"first paint, {number + 1} of {rounds + 1}")
            began = time.monotonic()
            ours = await in_terminal(model_uri, None, None, history)
            between = time.monotonic()
            theirs = await run_in_terminal(lambda out, _: [sys.executable, "-P", "-c", TRIVIAL, str(out)])
            pairs.append((ours["painted"] - began, theirs["painted"] - between))
    return pairs[1:]  # the first pair warms the disk and creates the history
