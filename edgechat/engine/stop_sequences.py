"""Stop strings: a reply ends where one of them would begin, and no character of it is ever shown.

Tokens do not end where a stop string does, so text that may yet become one is held back until it is told apart. What
turns out to be ordinary text is given back in full: a stop string never cuts early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgechat.engine.protocol import Event, Finished, TextDelta


class StopStrings:
    """Watches one reply.

    Attributes:
        hit: Whether a stop string was found; nothing more is given out after it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Take the next characters; return those that can be shown now, which may be none."""
        if self.hit:
            return ""
        held = self._held + text
        found = [at for at in map(held.find, self._stops) if at >= 0]
        if found:
            self.hit = True
            self._held = ""
            return held[: min(found)]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def rest(self) -> str:
        """What was held back, when the reply ended without a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of the text that a stop string could begin with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def until_stop(
    run: Callable[[Callable[[], bool]], Iterator[Event]], stops: Sequence[str], stopped: Callable[[], bool]
) -> Iterator[Event]:
    """The events of a reply up to a stop string.

    Args:
        run: Writes the reply; given what to ask between tokens, it ends with `Finished` soon after that is true.
        stops: The stop strings, none of them empty.
        stopped: Whether somebody else wants the reply to end.
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
            if text := watch.rest():
                yield TextDelta(text)
            yield msgspec.structs.replace(event, reason="stop") if watch.hit else event
        else:
            yield event
