"""Briefly measures a model's speed on this machine, for the record of a packaged model.

`edgechat bench` compares with references and judges; here a few replies are timed by the worker's own clock. Only the
client is used, so the results are what a chat gets.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Finished, Request, Sampling
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EngineError

_PROMPT_TOKENS, _REPLY_TOKENS, _ROUNDS = 256, 48, 3
_LINE = "The river ran past the mill, the bridge and the old town, and nobody asked it where it was going. "


class Speed(msgspec.Struct, frozen=True):
    """Measurements: medians over a few replies, as counted by the worker.

    Attributes:
        load_seconds: From starting the process to a usable model.
        prefill_tokens_per_second: Prompt processing speed.
        decode_tokens_per_second: Generation speed.
        ttft_seconds: From the request to the first text, for a prompt of `prompt_tokens` tokens.
        peak_memory_bytes: The worker's peak resident memory; 0 if unknown.
        prompt_tokens: Length of the prompt used.
        threads: Number of compute threads.
        context: Context window in tokens.
    """

    load_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    ttft_seconds: float
    peak_memory_bytes: int
    prompt_tokens: int
    threads: int
    context: int


async def measure(source: ModelSource, options: EngineOptions | None = None) -> Speed:
    """Load the model in a worker, time a few replies, and end the worker.

    Raises:
        EngineError: The model cannot be run, or ends its replies immediately.
    """
    client = EngineClient(source, options)
    try:
        info = await client.start()
        prompt_tokens = min(_PROMPT_TOKENS, info.context // 3)
        each = await client.count((Message("user", _LINE),)) - await client.count((Message("user", ""),))
        lines = max(1, (prompt_tokens - 40) // max(1, each))
        ends: list[Finished] = []
        for number in range(_ROUNDS + 1):
            # Each starts differently, so that no part of its prompt is cached.
            request = Request(
                (Message("user", f"{number}. {_LINE * lines}"),),
                Sampling(temperature=0),
                min(_REPLY_TOKENS, prompt_tokens),
            )
            async for event in client.stream(request):
                if isinstance(event, Finished):
                    ends.append(event)
        peak = peak_memory(client.pid)
    finally:
        await client.aclose()
    timed = [end for end in ends[1:] if end.usage.completion > 1]  # the first one is a warm-up
    if not timed:
        raise EngineError("Nothing to measure", "The model ended its replies at once.", "Measure with another model.")
    return Speed(
        load_seconds=info.load_seconds,
        prefill_tokens_per_second=statistics.median(
            (end.usage.prompt - end.usage.cached) / end.timings.prefill for end in timed
        ),
        decode_tokens_per_second=statistics.median(end.tokens_per_second for end in timed),
        ttft_seconds=statistics.median(end.timings.ttft for end in timed),
        peak_memory_bytes=peak or 0,
        prompt_tokens=timed[0].usage.prompt,
        threads=info.threads,
        context=info.context,
    )


def peak_memory(pid: int | None) -> int | None:
    """Return the peak resident memory of a process in bytes, which only Linux reports for other processes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
