"""`edgechat bench`: what this machine gives, as ratios measured in one run.

Absolute times of a shared or warm machine mean little; each figure here is measured in turn with what it is compared
with, several times over, and the median of the pairs is told. Nothing here fails on a slow machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import click

from edgechat import paths
from edgechat.chat.conversation import Message
from edgechat.cli.opening import engine_for, locate
from edgechat.cli.options import model_option
from edgechat.config import Config, load_config
from edgechat.engine import sizing
from edgechat.engine.base import Finished, Request, Sampling, TextDelta
from edgechat.engine.client import ModelSource
from edgechat.engine.measure import peak_memory
from edgechat.errors import EngineError, ModelError

PROMPT = "Write a very long story about a lighthouse keeper, with many chapters."
GREEDY = Sampling(temperature=0, repetition_penalty=1)
MEGABYTE = 1024 * 1024
OVERHEAD = 150 * MEGABYTE
"""Bytes the worker may take beyond the weights and the KV cache."""

# The trivial application: what Textual itself takes to paint.
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


@click.command()
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Pairs to measure.")
@click.option("--tokens", type=click.IntRange(8, 4096), default=128, show_default=True, help="Tokens of each reply.")
@click.option("--tui/--no-tui", default=True, help="Whether to measure the chat in a terminal too.")
@click.option(
    "--packaged",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="BINARY",
    help="Measure a packaged edgechat against this one.",
)
@click.option("--scoring", is_flag=True, help="Measure mlflow.pyfunc instead; needs edgechat[mlflow].")
@click.option("--turns", is_flag=True, help="Measure what is not computed twice instead: turns, replies, chats.")
@click.option("--history", "of_history", is_flag=True, help="Measure a history of 10,000 chats against an empty one.")
@click.option("--long", "of_long", is_flag=True, help="Measure a chat of 2,000 messages and a reply of 50,000 tokens.")
@click.pass_context
def bench(
    ctx: click.Context,
    model_uri: str | None,
    as_json: bool,
    rounds: int,
    tokens: int,
    tui: bool,
    packaged: Path | None,
    scoring: bool,
    turns: bool,
    of_history: bool,
    of_long: bool,
) -> None:
    """Measure the chat against the plainest loop around the same model, on this machine.

    \b
    Examples:
      edgechat bench                    a table
      edgechat bench --json > me.json   for a comparison
      edgechat bench --packaged dist/edgechat-0.1.0/edgechat
      edgechat bench --history          search and start with 200,000 messages
      edgechat bench --long             a chat of 2,000 messages, a reply of 50,000 tokens
      edgechat bench --scoring          predict against the plain loop, a batch against single calls
      edgechat bench --turns            the 20th turn against the 2nd, another reply, back to a chat
    """
    config = load_config(model_uri=model_uri or (ctx.obj or {}).get("model_uri"))
    if packaged is not None:
        from edgechat.cli.bench_packaged import measure

        single = not (packaged.parent / "_internal").is_dir()
        result = asyncio.run(measure(str(packaged.absolute()), config, rounds, tokens, single=single))
    elif of_history:
        from edgechat.cli.bench_history import measure as measure_history

        result = asyncio.run(measure_history(config, rounds, tui=tui and os.name == "posix"))
    elif of_long:
        from edgechat.cli.bench_long import measure as measure_long

        result = asyncio.run(measure_long(rounds))
    elif scoring:
        from edgechat.cli.bench_scoring import measure as measure_scoring

        result = asyncio.run(measure_scoring(config, rounds, tokens))
    elif turns:
        from edgechat.cli.bench_turns import measure as measure_turns

        result = asyncio.run(measure_turns(config, rounds))
    else:
        result = asyncio.run(_measure(config, rounds, tokens, tui=tui and os.name == "posix"))
    click.echo(json.dumps(result, indent=2) if as_json else _table(result))


async def _measure(config: Config, rounds: int, tokens: int, *, tui: bool) -> dict[str, Any]:
    say("finding the model")
    source = await locate(config.model_uri)(lambda progress: None)
    if source.kind != "genai":
        raise ModelError(
            "Model cannot be measured",
            f"{source.name} is run by {source.kind}; everything here is compared with onnxruntime-genai's own loop.",
            "Turn it into an ONNX model with `edgechat package`, and measure that.",
        )
    genai_config = json.loads((source.folder / "genai_config.json").read_text(encoding="utf-8"))
    prompt = await prompt_ids(source)
    figures: dict[str, dict[str, Any]] = {}
    pairs: list[tuple[float, float]] = []
    drawn: list[tuple[float, float]] = []
    lags: list[float] = []
    for number in range(rounds):
        # New processes each round: where the weights come to lie in memory alone makes some hundredths of difference.
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
                kv = sizing.kv_bytes_per_token(genai_config) * info.context
                figures["worker_memory"] = _memory(client.pid, weights, kv)
                await client.aclose()
                if tui:
                    say(f"decoding while the chat draws, {number + 1} of {rounds}")
                    told = await in_terminal(config.model_uri, PROMPT, tokens)
                    drawn.append((speed(told["tokens"], told["decode"]), await raw.reply(prompt, tokens)))
                    lags.append(told["lag"])
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


def figure(pairs: list[tuple[float, float]], unit: str, **bound: float) -> dict[str, Any]:
    """The pairs, the median of their ratios, and whether it keeps to `at_least` or `at_most`."""
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    met = ratio >= bound["at_least"] if "at_least" in bound else ratio <= bound["at_most"]
    return {
        "unit": unit,
        "ours": [round(ours, 4) for ours, _ in pairs],
        "reference": [round(theirs, 4) for _, theirs in pairs],
        "ratio": round(ratio, 4),
        **bound,
        "met": met,
    }


def _memory(pid: int | None, weights: int, kv: int) -> dict[str, Any]:
    """The worker's highest resident memory so far."""
    peak = peak_memory(pid)
    if peak is None:
        return {"unknown": "this system does not tell"}
    bound = weights + kv + OVERHEAD
    return {"bytes": peak, "weights": weights, "kv": kv, "at_most": bound, "met": peak <= bound}


def speed(tokens: int, seconds: float) -> float:
    """Tokens a second after the first. Raises EngineError where there was no second one."""
    if tokens < 2 or seconds <= 0:
        raise EngineError("Nothing to measure", "The model ended its reply at once.", "Measure with another model.")
    return (tokens - 1) / seconds


async def _one_reply(client: Any, tokens: int) -> float:
    """Decode speed as the reader of the stream sees it."""
    first = last = 0.0
    request = Request((Message("user", PROMPT),), GREEDY, tokens)
    async for event in client.stream(request):
        if isinstance(event, TextDelta):
            last = time.perf_counter()
            first = first or last
        elif isinstance(event, Finished):
            return speed(event.usage.completion, last - first)
    raise AssertionError("a stream ends with Finished")


async def prompt_ids(source: ModelSource) -> list[int]:
    """The prompt's ids, from a short-lived process: the tokenizer has no place in this one."""
    process = await asyncio.create_subprocess_exec(
        *paths.own_command("_bench-ids", str(source.folder), PROMPT), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    ids: list[int] = json.loads(out)
    return ids


class Child:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Start it, and wait for its answer to the settings."""
        child = cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        )
        await child.ask(settings)
        return child

    async def ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise EngineError("What was measured ended", f"Its exit code was {await self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def aclose(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class RawLoop(Child):
    """The plain loop in a process of its own."""

    @classmethod
    async def load(cls, folder: Path, threads: int, context: int, *, command: Sequence[str] | None = None) -> RawLoop:
        """Load the model there; with `command`, which starts another edgechat, in that one's process."""
        line = [*(command or paths.own_command()), "_raw-loop"]
        return await cls.start(line, {"folder": str(folder), "threads": threads, "context": context})

    async def reply(self, prompt: list[int], tokens: int) -> float:
        """Decode speed of one reply."""
        answer = await self.ask({"prompt": prompt, "tokens": tokens})
        return speed(answer["tokens"], answer["decode"])


async def _paints(model_uri: str | None, rounds: int) -> list[tuple[float, float]]:
    """Seconds from starting the process to the first paint, ours and the trivial application's."""
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
    return pairs[1:]  # the first pair warms the disk and makes the history


async def in_terminal(
    model_uri: str | None,
    prompt: str | None,
    tokens: int | None,
    history: Path | None = None,
    *,
    command: Sequence[str] | None = None,
    scripted: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Run the chat with its stopwatch in a terminal; see `tui.bench.BenchApp.result`.

    Args:
        model_uri: The model.
        prompt: What to send; None leaves after the first paint.
        tokens: Upper bound of the reply.
        history: The history file; None for a new one.
        command: How another edgechat is started; None for this one.
        scripted: Open `chat` of the history, and have a scripted engine answer with that many `words`.
    """

    def line(out: Path, new_history: Path) -> list[str]:
        task = {
            "history": str(history or new_history),
            "model_uri": model_uri,
            "prompt": prompt,
            "tokens": tokens,
            "scripted": scripted,
        }
        return [*(command or paths.own_command()), "_bench-tui", str(out), json.dumps(task)]

    return await run_in_terminal(line)


async def run_in_terminal(command: Callable[[Path, Path], list[str]]) -> dict[str, Any]:
    """Run a command in a pseudo-terminal of 100 columns and 30 rows, whose output is read and thrown away."""
    import fcntl
    import pty
    import struct
    import termios

    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        out = Path(folder) / "result.json"
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            process = await asyncio.create_subprocess_exec(
                *command(out, Path(folder) / "history.db"),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
                start_new_session=True,
            )
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, _drain, ours)
            try:
                code = await process.wait()
            finally:
                loop.remove_reader(ours)
        finally:
            os.close(theirs)
            os.close(ours)
        if code != 0 or not out.exists():
            raise EngineError("The chat in a terminal failed", f"Its exit code was {code}.")
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the other side has closed; the process's end is waited for elsewhere
        os.read(descriptor, 65536)


def say(text: str) -> None:
    """Tell what is being measured."""
    sys.stderr.write(f"edgechat: {text}\n")


_NAMES = {
    "decode_client": "decode through worker and wire / plain loop",
    "decode_tui": "decode while the chat draws / plain loop",
    "first_paint": "first paint / trivial Textual app",
    "packaged_paint": "first paint, packaged / this edgechat",
    "packaged_decode": "decode, packaged / this edgechat",
    "history_paint": "first paint, long history / empty one",
    "predict_decode": "mlflow.pyfunc predict / plain loop",
    "predict_batch": "8 prompts in one call / in 8 calls",
    "later_turn": "first text, turn 20 / turn 2",
    "another_reply": "first text, another reply / 1,000 tokens cold",
    "back_to_a_chat": "first text, back in a chat / all of it cold",
    "long_open": "chat of 2,000 messages shown / empty chat",
}


def _table(result: dict[str, Any]) -> str:
    if "model" not in result and "tokens" in result:
        lines = [f"a chat of {result['messages']:,} messages, a reply of {result['tokens']:,} tokens"]
    elif "chats" in result:
        lines = [f"{result['chats']:,} chats, {result['messages']:,} messages"]
    else:
        lines = [f"{result['model']}: {result['threads']} threads, context {result['context']:,}"]
    for key, figure in result["figures"].items():
        if "ratio" in figure:
            sign = "at least" if "at_least" in figure else "at most"
            bound = figure.get("at_least", figure.get("at_most"))
            lines.append(f"{_NAMES[key]:<46} {figure['ratio']:>6.2f}   ({sign} {bound})")
        elif key in ("ui_worst_lag", "long_lag"):
            lines.append(
                f"{'worst lag of the interface while writing':<46} {figure['seconds'] * 1000:>4.0f} ms   (at most 50)"
            )
        elif key == "search":
            taken, bound = figure["median_seconds"] * 1000, figure["at_most"] * 1000
            lines.append(f"{'first results of a search, median':<46} {taken:>4.0f} ms   (at most {bound:.0f})")
        elif "bytes" in figure:
            taken, bound = figure["bytes"] / MEGABYTE, figure["at_most"] / MEGABYTE
            lines.append(f"{'highest memory of the worker':<46} {taken:>4.0f} MB   (at most {bound:.0f})")
    return "\n".join(lines)
