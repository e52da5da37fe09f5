"""`edgechat bench --turns`: the effect of prompt caching, as ratios of times to first text, in one run."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from edgechat.bench.report import figure, say
from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Finished, Request, Sampling, TextDelta, Usage
from edgechat.engine.worker.client import EngineClient, EngineOptions
from edgechat.errors import EngineError
from edgechat.session.factory import locate
from edgechat.settings.schema import Config

TURNS = 20
COLD_TOKENS = 1000
_REPLY_TOKENS = 16
_CONTEXT = 4096
_GREEDY = Sampling(temperature=0)
_SYSTEM = Message("system", "You are a helpful AI assistant.")
_OPENINGS = ("Now", "And", "But")
"""Words for rephrasing a message at the same length: a single measurement varies too much."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply.

    Attributes:
        text: Its text.
        usage: Its token counts.
        ttft: Seconds from the request to the first text, measured in this process, as a user experiences it.
    """

    text: str
    usage: Usage
    ttft: float


class _Chat:
    """A conversation with the worker whose messages all have the same length."""

    def __init__(self, client: EngineClient, name: str) -> None:
        self._client = client
        self._messages = [_SYSTEM]
        self._name = name

    async def say(self, turn: int, opening: str = _OPENINGS[0], *, paused: bool = False) -> _Answer:
        """Send the next message, immediately or after a pause in which it is prefilled as in the interface."""
        about = f"{self._name}, turn {turn + 100}"
        words = f"{opening} this is {about}: what did the river pass after the mill and the old bridge?"
        self._messages.append(Message("user", words))
        if paused:
            await self._client.prefill(tuple(self._messages))
        return await self.answer()

    async def time_turn(self, turn: int, *, paused: bool) -> float:
        """Send several versions of the next message in place of one another; return the median TTFT in seconds.

        The last version is removed again afterwards.
        """
        seconds = []
        for opening in _OPENINGS:
            seconds.append((await self.say(turn, opening, paused=paused)).ttft)
            del self._messages[-2:]
        return statistics.median(seconds)

    async def answer(self) -> _Answer:
        """Generate a reply to the last message, replacing any previous one."""
        if self._messages[-1].role == "assistant":
            self._messages.pop()
        answer = await _reply(self._client, self._messages)
        self._messages.append(Message("assistant", answer.text))
        return answer


async def measure(config: Config, rounds: int) -> dict[str, Any]:
    """Hold several chats of twenty turns, then return to each.

    Args:
        config: The settings, for their model, threads and memory.
        rounds: Number of chats.

    Returns:
        The output of `edgechat bench --json`.

    Raises:
        ModelError: The model cannot be used.
        EngineError: It ends its replies immediately.
    """
    source = await locate(config.model_uri)(lambda progress: None)
    cache_bytes = None if config.cache_memory is None else config.cache_memory * 1024 * 1024
    client = EngineClient(source, EngineOptions(config.context or _CONTEXT, config.threads, cache_bytes=cache_bytes))
    paused: list[tuple[float, float]] = []
    at_once: list[tuple[float, float]] = []
    again: list[tuple[float, float]] = []
    back: list[tuple[float, float]] = []
    try:
        info = await client.start()
        filler = await _filler(client)
        for number in range(rounds):
            say(f"a chat of {TURNS} turns, {number + 1} of {rounds}")
            chat = _Chat(client, f"chat {number + 100}")
            await chat.say(0)
            second = [await chat.time_turn(1, paused=way) for way in (True, False)]
            for turn in range(1, TURNS - 1):
                await chat.say(turn)
            last = [await chat.time_turn(TURNS - 1, paused=way) for way in (True, False)]
            end = await chat.say(TURNS - 1)
            paused.append((last[0], second[0]))
            at_once.append((last[1], second[1]))
            # A prompt that shares nothing with the cache, in a chat long enough to be worth caching.
            say("a cold prompt, another reply, and back")
            cold_prompt = [Message("system", f"{number + 100}."), Message("user", filler)]
            cold = await _reply(client, cold_prompt)
            per_token = cold.ttft / (cold.usage.prompt - cold.usage.cached)
            back.append(((await chat.say(TURNS)).ttft, per_token * end.usage.context))
            again.append(((await chat.answer()).ttft, per_token * COLD_TOKENS))
    finally:
        await client.aclose()
    return {
        "model": info.name,
        "context": info.context,
        "threads": info.threads,
        "rounds": rounds,
        "kept_chats": info.cached_chats,
        "figures": {
            "later_turn": figure(paused, "seconds", at_most=1.3),
            "later_turn_at_once": figure(at_once, "seconds", at_most=1.3),
            "another_reply": figure(again, "seconds", at_most=0.15),
            "back_to_a_chat": figure(back, "seconds", at_most=0.15),
        },
    }


async def _filler(client: EngineClient) -> str:
    """Return a message of about COLD_TOKENS tokens."""
    line = "The river ran past the mill, the bridge and the old town, and nobody asked it where it was going. "
    none, one = [await client.count((Message("user", line * lines),)) for lines in (1, 2)]
    return line * max(1, COLD_TOKENS // max(1, one - none))


async def _reply(client: EngineClient, messages: list[Message]) -> _Answer:
    began = time.perf_counter()
    first = 0.0
    text = ""
    async for event in client.stream(Request(tuple(messages), _GREEDY, _REPLY_TOKENS)):
        if isinstance(event, TextDelta):
            first = first or time.perf_counter()
            text += event.text
        elif isinstance(event, Finished):
            if not text:
                raise EngineError("Nothing to measure", "The model ended its reply at once.", "Try another model.")
            return _Answer(text, event.usage, first - began)
    raise AssertionError("a stream ends with Finished")
