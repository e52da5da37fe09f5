"""Stop strings: a reply ends before the first of them, and no character of it is ever shown.

Tokens do not align with stop strings, so text that may turn into one is buffered until that is certain. Text that turns
out to be ordinary is returned in full: a stop string never cuts early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgechat.engine.protocol import Event, Finished, TextDelta


class StopStrings:
    """Watches one reply for stop strings.

    Attributes:
        hit: Whether a stop string was found; nothing is returned after it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._buffer = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Add the next characters; return those that can be shown now, possibly none."""
        if self.hit:
            return ""
        buffered = self._buffer + text
        found = [at for at in map(buffered.find, self._stops) if at >= 0]
        if found:
            self.hit = True
            self._buffer = ""
            return buffered[: min(found)]
        overlap = max((_overlap(buffered, stop) for stop in self._stops), default=0)
        self._buffer = buffered[len(buffered) - overlap :]
        return buffered[: len(buffered) - overlap]

    def flush(self) -> str:
        """Return the buffered text once the reply has ended without a stop string."""
        buffered, self._buffer = self._buffer, ""
        return buffered


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of the text could start a stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def until_stop(
    run: Callable[[Callable[[], bool]], Iterator[Event]], stops: Sequence[str], stopped: Callable[[], bool]
) -> Iterator[Event]:
    """Yield the events of a reply up to a stop string.

    Args:
        run: Generates the reply; polls the given function between tokens and yields `Finished` soon after it is true.
        stops: The stop strings, none of them empty.
        stopped: Whether the caller wants the reply to end.
    """
    if not stops:
        yield from run(stopped)
        return
    watch = StopStrings(stops)
    for event in run(lambda: watch.hit or stopped()):
        if isinstance(event, TextDelta):
            if text := watch.feed(event.text):
                yield TextDelta(text)
        elif isinstance(event, Finished):
            if text := watch.flush():
                yield TextDelta(text)
            yield msgspec.structs.replace(event, reason="stop") if watch.hit else event
        else:
            yield event
