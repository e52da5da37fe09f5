"""A deterministic engine with the same contract as the real one, but without a model.

It ships for two uses: testing everything above the engine, and `edgechat --demo`, which shows the interface on a
machine without a model. It must never be selected implicitly where a user expects a model.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgechat.chat.conversation import Message
from edgechat.engine.kv_cache import common_prefix
from edgechat.engine.protocol import (
    Event,
    Finished,
    ModelInfo,
    Progress,
    ProgressCallback,
    Prompt,
    PromptPart,
    Request,
    TextDelta,
    Timings,
    Usage,
    too_long,
)
from edgechat.engine.stop_sequences import StopStrings
from edgechat.errors import EdgechatError, EngineError

Script = Callable[[Request], str]
"""Returns the reply to a request."""


def echo(request: Request) -> str:
    """Quote the last message back, in Markdown."""
    last = request.messages[-1].content if request.messages else ""
    return f"You said:\n\n> {last}\n\nThis is a *scripted* reply; no model is running."


@dataclass
class ScriptedEngine:
    """Replies with scripted text, one word at a time. A token is a word with its trailing white space.

    Attributes:
        script: Makes the reply, or a list of replies to cycle through.
        delay: Seconds between tokens.
        load_delay: Seconds loading takes.
        context: Context window in tokens.
        fail_start: Raised by the next load, once.
        fail_after: Raise `failure` after this many tokens, once.
        failure: The error to raise then.
        requests: Every request received, for tests.
        prefills: Every conversation passed to `prefill`, for tests.
    """

    script: Script | Sequence[str] = echo
    delay: float = 0.0
    load_delay: float = 0.0
    context: int = 4096
    fail_start: EdgechatError | None = None
    fail_after: int | None = None
    failure: EdgechatError | None = None

    def __post_init__(self) -> None:
        """Initialise private state."""
        self.requests: list[Request] = []
        self.prefills: list[tuple[Message, ...]] = []
        self._info: ModelInfo | None = None
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._cached: list[str] = []
        self._closed = False

    @property
    def info(self) -> ModelInfo | None:
        """The model's properties; None until it is loaded."""
        return self._info

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Pretend to load a model."""
        if self._closed:
            raise EngineError("The engine is closed")
        async with self._starting:
            if self._info is None:
                if on_progress is not None:
                    on_progress(Progress("load", 0, 0))
                await asyncio.sleep(self.load_delay)
                if self.fail_start is not None:
                    failure, self.fail_start = self.fail_start, None
                    raise failure
                self._info = ModelInfo(
                    name="scripted",
                    architecture="scripted",
                    form="phi3",
                    context=self.context,
                    model_context=self.context,
                    threads=1,
                )
            return self._info

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one scripted reply."""
        await self.start()
        async with self._turn:
            self._stop.clear()
            self.requests.append(request)
            async for event in self._reply(request):
                yield event

    async def _reply(self, request: Request) -> AsyncIterator[Event]:
        clock = asyncio.get_running_loop().time
        began = clock()
        prompt_tokens = _tokens(request.messages)
        prompt = len(prompt_tokens)
        room = self.context - prompt
        if room < 1:
            raise too_long(f"{prompt:,}", self.context)
        limit = room if request.max_tokens is None else min(room, request.max_tokens)
        cached = min(common_prefix(self._cached, prompt_tokens), prompt - 1)
        tokens = split_words(self._text(request))
        first = last = 0.0
        written = 0
        reason = "stop"
        watch = StopStrings(request.stop)
        for token in tokens:
            await asyncio.sleep(self.delay)
            if self._stop.is_set():
                reason = "cancelled"
                break
            if self.fail_after == written:
                self.fail_after = None
                self._info = None  # like a worker that died: the next call starts a new one
                raise self.failure or EngineError("The model process ended", "Its exit code was 1.")
            if written == limit:
                reason = "length"
                break
            written += 1
            last = clock()
            first = first or last
            if text := watch.feed(token):
                yield TextDelta(text)
            if watch.hit:
                break
        if text := watch.flush():
            yield TextDelta(text)
        self._cached = prompt_tokens + tokens[:written]
        yield Finished(
            reason,  # type: ignore[arg-type]
            Usage(prompt, cached, written),
            Timings(prefill=0.0, ttft=(first or clock()) - began, decode=last - first),
        )

    def _text(self, request: Request) -> str:
        if callable(self.script):
            return self.script(request)
        return self.script[(len(self.requests) - 1) % len(self.script)]

    async def count(self, messages: tuple[Message, ...]) -> int:
        """Count words, plus two control tokens per message."""
        await self.start()
        return len(_tokens(messages))

    async def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """Return the prompt; ids simply number the tokens."""
        await self.start()
        cached = min(common_prefix(self._cached, _tokens(messages)), len(_tokens(messages)) - 1)
        parts: list[PromptPart] = []
        ids = itertools.count(1)
        for kind, text in _pieces(messages):
            parts.append(
                PromptPart(kind, text, tuple(next(ids) for _ in ([text] if kind == "control" else split_words(text))))
            )
        return Prompt(tuple(parts), cached)

    async def prefill(self, messages: tuple[Message, ...], top_k: int | None = None) -> int:
        """Record the call and return how many tokens were not cached."""
        del top_k  # nothing is sampled
        await self.start()
        self.prefills.append(messages)
        ahead = _tokens(messages)
        if not messages[-1].content:
            ahead = ahead[:-2]  # drop the end of the message and the start of the reply
        common = common_prefix(self._cached, ahead)
        if len(ahead) >= self.context or common == len(ahead):
            return 0
        self._cached = ahead
        return len(ahead) - common

    async def stop(self) -> None:
        """Stop the current reply."""
        self._stop.set()

    async def aclose(self) -> None:
        """Close the engine."""
        self._closed = True
        self._stop.set()


def _pieces(messages: Sequence[Message]) -> Iterator[tuple[Literal["control", "text", "reply"], str]]:
    for position, message in enumerate(messages, 1):
        yield "control", f"<|{message.role}|>"
        yield "reply" if message.role == "assistant" else "text", message.content
        if position == len(messages) and message.role == "assistant":
            return  # the message is being continued
        yield "control", "<|end|>"
    yield "control", "<|assistant|>"


def _tokens(messages: Sequence[Message]) -> list[str]:
    return [token for kind, text in _pieces(messages) for token in ([text] if kind == "control" else split_words(text))]


def split_words(text: str) -> list[str]:
    """Split a text into tokens, which join back to the text."""
    return re.findall(r"\S+\s*|\s+", text)
