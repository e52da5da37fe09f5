"""A short look at how fast a model is on this machine, for the record of a packaged model.

`edgechat bench` compares with references and judges; here a few replies are timed by the worker's own clock. Only the
client is used, so what is measured is what a chat gets.
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
    """What was measured: medians of a few replies, seconds and tokens of the worker's own count.

    Attributes:
        load_seconds: From starting the process to a model that can be asked.
        prefill_tokens_per_second: Prompt tokens computed.
        decode_tokens_per_second: Reply tokens written.
        ttft_seconds: From the request to the first text, for `prompt_tokens` tokens.
        peak_memory_bytes: The worker's highest resident memory; 0 where the system does not tell.
        prompt_tokens: Of the prompt measured with.
        threads: Of the computation.
        context: Tokens the worker held.
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
    """Load the model in a worker, time a few replies, and end it.

    Raises:
        EngineError: The model cannot be run, or ends its replies at once.
    """
    client = EngineClient(source, options)
    try:
        info = await client.start()
        wanted = min(_PROMPT_TOKENS, info.context // 3)
        each = await client.count((Message("user", _LINE),)) - await client.count((Message("user", ""),))
        lines = max(1, (wanted - 40) // max(1, each))
        ends: list[Finished] = []
        for number in range(_ROUNDS + 1):
            # Each begins differently, so that none finds the prompt of the one before computed already.
            request = Request(
                (Message("user", f"{number}. {_LINE * lines}"),), Sampling(temperature=0), min(_REPLY_TOKENS, wanted)
            )
            async for event in client.stream(request):
                if isinstance(event, Finished):
                    ends.append(event)
        peak = peak_memory(client.pid)
    finally:
        await client.aclose()
    timed = [end for end in ends[1:] if end.usage.completion > 1]  # the first warms the machine
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
    """The highest resident memory of a process so far in bytes, which only Linux tells of another one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
