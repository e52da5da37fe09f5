"""A reply as it grows: tokens in, whole characters out, and its ids remembered for the next prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import Event, Finished, TextDelta


class GrowingReply:
    """The tokens of one reply and their text.

    Attributes:
        ids: Tokens so far, those of a reply that is gone on with left out.
    """

    def __init__(self, decode: Callable[[int], str], codec: TokenCodec, begun: str = "") -> None:
        """Begin a reply.

        Args:
            decode: Turns the next token into the characters that are complete with it; made anew for each reply.
            codec: Remembers the reply's own ids.
            begun: The text of a reply that is gone on with.
        """
        self._decode = decode
        self._codec = codec
        self.ids: list[int] = []
        self._parts: list[str] = []
        self._begun = begun
        self._begun_ids = codec.reply_ids(begun)
        for token in self._begun_ids:  # so that the decoder knows of half a character, and that this is no beginning
            decode(token)

    def add(self, token: int) -> str:
        """Take a token; return the characters that are complete with it, which may be none."""
        self.ids.append(token)
        delta = self._decode(token)
        if delta and not self._parts and not self._begun and self._codec.prepends_space:
            delta = delta.removeprefix(" ")
        if delta:
            self._parts.append(delta)
        return delta

    def close(self) -> None:
        """Remember the ids."""
        if self.ids:
            self._codec.remember("".join([self._begun, *self._parts]), [*self._begun_ids, *self.ids])


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
