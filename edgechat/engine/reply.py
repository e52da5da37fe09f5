"""A reply as it grows: tokens in, whole characters out, and its ids remembered for the next prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgechat.engine.base import Event, Finished, TextDelta
from edgechat.engine.tokens import TokenCodec


class GrowingReply:
    """The tokens of one reply and their text.

    Attributes:
        ids: Tokens so far.
    """

    def __init__(self, decode: Callable[[int], str], codec: TokenCodec) -> None:
        """Begin a reply.

        Args:
            decode: Turns the next token into the characters that are complete with it; made anew for each reply.
            codec: Remembers the reply's own ids.
        """
        self._decode = decode
        self._codec = codec
        self.ids: list[int] = []
        self._parts: list[str] = []

    def add(self, token: int) -> str:
        """Take a token; return the characters that are complete with it, which may be none."""
        self.ids.append(token)
        delta = self._decode(token)
        if delta and not self._parts and self._codec.prepends_space:
            delta = delta.removeprefix(" ")
        if delta:
            self._parts.append(delta)
        return delta

    def close(self) -> None:
        """Remember the ids."""
        if self.ids:
            self._codec.remember("".join(self._parts), self.ids)


def collect(events: Iterable[Event]) -> tuple[str, Finished]:
    """The whole text of a reply, and its end."""
    text: list[str] = []
    finished: Finished | None = None
    for event in events:
        if isinstance(event, TextDelta):
            text.append(event.text)
        elif isinstance(event, Finished):
            finished = event
    assert finished is not None, "a reply that raised nothing ends with Finished"
    return "".join(text), finished
