"""Turns generated tokens into text, whole characters only, and remembers their ids for the next prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import Event, Finished, TextDelta


class GrowingReply:
    """The tokens and text of one reply.

    Attributes:
        ids: Tokens generated so far, without those of the text being continued.
    """

    def __init__(self, decode: Callable[[int], str], codec: TokenCodec, prefix: str = "") -> None:
        """Start a reply.

        Args:
            decode: Turns the next token into the characters it completes; a new decoder for each reply.
            codec: Remembers the ids of the finished reply.
            prefix: Text of the reply to continue; empty for a new one.
        """
        self._decode = decode
        self._codec = codec
        self.ids: list[int] = []
        self._parts: list[str] = []
        self._prefix = prefix
        self._prefix_ids = codec.reply_ids(prefix)
        for token in self._prefix_ids:  # primes the decoder with any partial character, and marks this as mid-text
            decode(token)

    def add(self, token: int) -> str:
        """Add a token and return the characters it completes, possibly none."""
        self.ids.append(token)
        delta = self._decode(token)
        if delta and not self._parts and not self._prefix and self._codec.prepends_space:
            delta = delta.removeprefix(" ")
        if delta:
            self._parts.append(delta)
        return delta

    def close(self) -> None:
        """Remember the ids of the whole reply."""
        if self.ids:
            self._codec.remember("".join([self._prefix, *self._parts]), [*self._prefix_ids, *self.ids])


def collect(events: Iterable[Event]) -> tuple[str, Finished]:
    """Return the full text of a reply and its final event."""
    text: list[str] = []
    finished: Finished | None = None
    for event in events:
        if isinstance(event, TextDelta):
            text.append(event.text)
        elif isinstance(event, Finished):
            finished = event
    assert finished is not None, "a reply that raised nothing ends with Finished"
    return "".join(text), finished
