"""`edgechat bench --turns`: what is not computed twice, as ratios of times to the first text, in one run."""

from __future__ import annotations

import statistics
from typing import Any

from edgechat.chat.conversation import Message
from edgechat.cli.bench_figures import figure, say
from edgechat.cli.opening import locate
from edgechat.config import Config
from edgechat.engine.base import Finished, Request, Sampling, TextDelta
from edgechat.engine.client import EngineClient, EngineOptions
from edgechat.errors import EngineError

TURNS = 20
COLD_TOKENS = 1000
_REPLY_TOKENS = 16
_CONTEXT = 4096
_GREEDY = Sampling(temperature=0)
_SYSTEM = Message("system", "You are a helpful AI assistant.")
_OPENINGS = ("Now", "And", "But")
"""Words with which a message is put in another way, as long as before: a single time is at the mercy of the machine."""


class _Chat:
    """A conversation with the worker, whose messages are all of one length."""

    def __init__(self, client: EngineClient, name: str) -> None:
        self._client = client
        self._messages = [_SYSTEM]
        self._name = name

    async def say(self, turn: int, opening: str = _OPENINGS[0]) -> Finished:
        """Send the next message."""
        about = f"{self._name}, turn {turn + 100}"
        words = f"{opening} this is {about}: what did the river pass after the mill and the old bridge?"
        self._messages.append(Message("user", words))
        return await self.answer()

    async def time_turn(self, turn: int) -> float:
        """Send the next message, each time put in another way in the place of the one before; the median TTFT."""
        seconds = [(await self.say(turn)).timings.ttft]
        for opening in _OPENINGS[1:]:
            del self._messages[-2:]
            seconds.append((await self.say(turn, opening)).timings.ttft)
        return statistics.median(seconds)

    async def answer(self) -> Finished:
        """Have the last message answered, again if it was."""
        if self._messages[-1].role == "assistant":
            self._messages.pop()
        text, finished = await _reply(self._client, self._messages)
        self._messages.append(Message("assistant", text))
        return finished


async def measure(config: Config, rounds: int) -> dict[str, Any]:
    """Hold chats of twenty turns, one after the other, and go back to each.

    Args:
        config: The settings, for their model, threads and memory.
        rounds: Chats to hold.

    Returns:
        What `edgechat bench --json` prints.

    Raises:
        ModelError: The model cannot be used.
        EngineError: It ends its replies at once.
    """
    source = await locate(config.model_uri)(lambda progress: None)
    kept = None if config.cache_memory is None else config.cache_memory * 1024 * 1024
    client = EngineClient(source, EngineOptions(config.context or _CONTEXT, config.threads, kept_bytes=kept))
    later: list[tuple[float, float]] = []
    again: list[tuple[float, float]] = []
    back: list[tuple[float, float]] = []
    try:
        info = await client.start()
        filler = await _filler(client)
        for number in range(rounds):
            say(f"a chat of {TURNS} turns, {number + 1} of {rounds}")
            chat = _Chat(client, f"chat {number + 100}")
            await chat.say(0)
            second = await chat.time_turn(1)
            for turn in range(2, TURNS - 1):
                end = await chat.say(turn)
            later.append((await chat.time_turn(TURNS - 1), second))
            # A prompt that shares nothing with what is held, of a chat that is held long enough to be worth keeping.
            say("a cold prompt, another reply, and back")
            cold_prompt = [Message("system", f"{number + 100}."), Message("user", filler)]
            _, cold = await _reply(client, cold_prompt)
            per_token = cold.timings.ttft / (cold.usage.prompt - cold.usage.cached)
            back.append(((await chat.say(TURNS)).timings.ttft, per_token * end.usage.context))
            again.append(((await chat.answer()).timings.ttft, per_token * COLD_TOKENS))
    finally:
        await client.aclose()
    return {
        "model": info.name,
        "context": info.context,
        "threads": info.threads,
        "rounds": rounds,
        "kept_chats": info.kept_chats,
        "figures": {
            "later_turn": figure(later, "seconds", at_most=1.3),
            "another_reply": figure(again, "seconds", at_most=0.15),
            "back_to_a_chat": figure(back, "seconds", at_most=0.15),
        },
    }


async def _filler(client: EngineClient) -> str:
    """A message of about COLD_TOKENS tokens."""
    line = "The river ran past the mill, the bridge and the old town, and nobody asked it where it was going. "
    none, one = [await client.count((Message("user", line * lines),)) for lines in (1, 2)]
    return line * max(1, COLD_TOKENS // max(1, one - none))


async def _reply(client: EngineClient, messages: list[Message]) -> tuple[str, Finished]:
    text = ""
    async for event in client.stream(Request(tuple(messages), _GREEDY, _REPLY_TOKENS)):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Finished):
            if not text:
                raise EngineError("Nothing to measure", "The model ended its reply at once.", "Try another model.")
            return text, event
    raise AssertionError("a stream ends with Finished")
