"""Which KV cache a prompt goes on from, when several recent chats keep theirs.

Going back to a chat, or to another branch of one, costs nothing while its tokens are still computed. Each cache takes
its whole memory when it is made, so there are only as many as was allowed; with one, this is the plain rule of taking
what is there and cutting it back. Nothing here knows a library: a cache is whatever `make` returns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

WORTH_KEEPING = 256
"""Tokens: fewer are computed again in about the time it takes to allocate another cache."""


def common_prefix(left: Sequence[object], right: Sequence[object]) -> int:
    """How many tokens two sequences begin with in common."""
    least = min(len(left), len(right))
    if left[:least] == right[:least]:  # most often, and a thousand are compared at once
        return least
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return least


@dataclass(slots=True, eq=False)
class Cache:
    """One KV cache.

    Attributes:
        generator: The library's object that holds it.
        params: What that was made with, for settings that may change.
        tokens: The ids it holds; whoever computes or cuts keeps them true.
        ready: Whether what follows the last id is known: a token can be chosen with nothing more computed.
        used: When it was last taken, as a count; 0 is never.
        made_for: What the library's object was made for, where it cannot be changed later.
    """

    generator: Any
    params: Any
    tokens: list[int] = field(default_factory=list)
    ready: bool = False
    used: int = 0
    made_for: object = None


class RecentCaches:
    """The caches of the chats held last.

    Attributes:
        most: How many there may be.
    """

    def __init__(
        self, make: Callable[[], tuple[Any, Any]], *, most: int = 1, room: Callable[[], bool] = lambda: True
    ) -> None:
        """There is no cache yet.

        Args:
            make: Makes a generator; returns it and its parameters.
            most: How many there may be.
            room: Whether the memory of one more is free now; asked only for a second one and further ones.
        """
        self._make = make
        self._room = room
        self.most = most
        self._caches: list[Cache] = []
        self._clock = itertools.count(1)

    def __len__(self) -> int:
        return len(self._caches)

    def held(self, *, ready: bool = False) -> list[list[int]]:
        """What each cache holds, or each of those that are ready; of the others the last token is computed again."""
        return [
            cache.tokens if cache.ready else cache.tokens[:-1] for cache in self._caches if cache.ready or not ready
        ]

    def take(
        self, prompt: Sequence[int], *, ahead: bool = False, fresh: bool = False, made_for: object = None
    ) -> Cache:
        """The cache in which the prompt costs least, without throwing away more than it saves.

        That is the one which shares the longest beginning with the prompt, unless more would be cut off it than is
        shared: then another chat is going to be held, and it gets a new cache, or the least recently used one.

        Args:
            prompt: The ids that are to be computed.
            ahead: Whether more ids will follow, which nobody knows yet; else a cache that holds all of them is taken
                whatever else it holds, as for another reply to the same message.
            fresh: Whether the library's object has to be new.
            made_for: What it has to have been made for.
        """
        cache = self._choose(prompt, ahead)
        if cache.used and (fresh or cache.made_for != made_for):
            self._caches.remove(cache)
            del cache  # its memory must be free before the next is made
            cache = self._add()
        if not cache.used:
            cache.made_for = made_for
        cache.used = next(self._clock)
        return cache

    def _choose(self, prompt: Sequence[int], ahead: bool) -> Cache:
        if not self._caches:
            return self._add()
        best = max(self._caches, key=lambda cache: (common_prefix(cache.tokens, prompt), cache.used))
        shared = common_prefix(best.tokens, prompt)
        lost = len(best.tokens) - shared
        again = not ahead and shared >= len(prompt) - 1
        if self.most == 1 or lost <= max(shared, WORTH_KEEPING) or again:
            return best
        if len(self._caches) < self.most and self._room():
            return self._add()
        return min(self._caches, key=lambda cache: cache.used)

    def _add(self) -> Cache:
        cache = Cache(*self._make())
        self._caches.append(cache)
        return cache

    def drop(self) -> None:
        """Give all of them up."""
        self._caches.clear()
