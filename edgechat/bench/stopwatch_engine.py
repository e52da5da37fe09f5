"""An engine that notes when its words come, for `edgechat bench`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Engine, Event, Finished, ModelInfo, ProgressCallback, Prompt, Request, TextDelta


class StopwatchEngine:
    """Passes everything on to another engine, unchanged.

    Attributes:
        first, last: When the first and the last text of the reply came, by `time.perf_counter`.
        tokens: The reply's length; 0 until it is finished.
        writing: Set at the first text.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.first = self.last = 0.0
        self.tokens = 0
        self.writing = asyncio.Event()

    @property
    def info(self) -> ModelInfo | None:
        """What is known of the model."""
        return self._engine.info

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Load the model."""
        return await self._engine.start(on_progress)

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one reply, and note when its text comes."""
        async with aclosing(self._engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    self.last = time.perf_counter()
                    self.first = self.first or self.last
                    self.writing.set()
                elif isinstance(event, Finished):
                    self.tokens = event.usage.completion
                yield event

    async def count(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt these messages make."""
        return await self._engine.count(messages)

    async def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """The prompt these messages make."""
        return await self._engine.prompt(messages)

    async def prefill(self, messages: tuple[Message, ...], top_k: int | None = None) -> int:
        """Compute the beginning of the next prompt ahead."""
        return await self._engine.prefill(messages, top_k)

    async def stop(self) -> None:
        """End what goes on."""
        await self._engine.stop()

    async def aclose(self) -> None:
        """End the engine."""
        await self._engine.aclose()
