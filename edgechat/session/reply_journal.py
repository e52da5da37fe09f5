"""A streaming reply on its way to the store.

It is apart from the reply runner because it alone knows of the store's pace: whatever the disk does, the words on the
screen go on, and all of them are in the store when the reply is closed.
"""

from __future__ import annotations

import asyncio

from edgechat.chat.conversation import Reply, ReplyState
from edgechat.engine.protocol import Finished
from edgechat.errors import StorageError
from edgechat.history.store import HistoryStore

JOURNAL_SECONDS = 0.25
"""Text waits no longer than this before it is in the store, so that a kill loses less than half a second of it."""


class ReplyJournal:
    """Writes a streaming reply to the store, a quarter of a second at a time.

    A store that cannot take the text must not end the reply on the screen: the error is there to be raised at the end.

    Attributes:
        failure: Why the store did not take a piece; None if it took all.
    """

    def __init__(self, store: HistoryStore, reply: Reply) -> None:
        self._store = store
        self._reply = reply
        self._waiting: list[str] = []
        self._flusher: asyncio.Task[None] | None = None
        self._parts: list[str] = [reply.text] if reply.text else []
        self.failure: StorageError | None = None

    @property
    def text(self) -> str:
        """The whole reply so far, what is not in the store yet included."""
        return "".join(self._parts)

    def add(self, text: str) -> None:
        """Take the next characters; they are in the store within a moment."""
        self._parts.append(text)
        self._waiting.append(text)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_soon(), name="journal")

    async def _flush_soon(self) -> None:
        await asyncio.sleep(JOURNAL_SECONDS)
        while self._waiting and self.failure is None:
            text = "".join(self._waiting)
            self._waiting.clear()
            try:
                # In a thread: a slow disk may take its time to sync, the event loop may not.
                await asyncio.to_thread(self._store.append_text, self._reply.id, text)
            except StorageError as error:
                self.failure = error

    async def close(self, state: ReplyState, finished: Finished | None, ttft: float | None, error: str = "") -> Reply:
        """Write the whole reply and end it; nothing need be flushed first.

        Args:
            state: How it ended.
            finished: Its usage and timings; None where it was not measured.
            ttft: Seconds until its first text; None where there was none.
            error: Why it failed, in English.

        Raises:
            StorageError: It cannot be written.
        """
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait({self._flusher})  # a write under way must not land after the closing one
        before = self._reply
        prompt, cached, completion = before.prompt_tokens, before.cached_tokens, before.completion_tokens
        if finished is not None and finished.usage.prompt:
            # A resumed reply is one reply: what it had said itself is completion, and not part of its prompt.
            prompt = prompt or finished.usage.prompt
            cached, completion = finished.usage.cached, finished.usage.context - prompt
        return await asyncio.to_thread(
            self._store.close_reply,
            before.id,
            state,
            text=self.text,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            ttft=before.ttft or ttft,
            seconds=before.seconds + (finished.timings.decode if finished is not None else 0.0),
            error=error,
        )
