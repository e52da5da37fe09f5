"""Chooses which KV cache a prompt reuses when several recent chats have one.

Returning to a chat, or to another branch, costs nothing while its tokens are cached. Each cache allocates all its
memory up front, so there are only as many as allowed; with one, this simply reuses it and rewinds. Nothing here depends
on a library: a cache wraps whatever `make` returns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

WORTH_KEEPING = 256
"""Tokens; recomputing fewer than this takes about as long as allocating another cache."""


def common_prefix(left: Sequence[object], right: Sequence[object]) -> int:
    """Return how many leading tokens two sequences share."""
    least = min(len(left), len(right))
    if left[:least] == right[:least]:  # the usual case, compared in one step
        return least
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return least


@dataclass(slots=True, eq=False)
class Cache:
    """One KV cache.

    Attributes:
        generator: The library's object that owns the cache.
        params: The library's parameters for it, whose settings may change.
        tokens: The ids in the cache; whoever computes or rewinds must keep this in sync.
        ready: Whether the logits after the last id are available, so that sampling needs no further computation.
        used: Sequence number of the last use; 0 means never.
        created_for: Settings fixed when the library's object was created.
    """

    generator: Any
    params: Any
    tokens: list[int] = field(default_factory=list)
    ready: bool = False
    used: int = 0
    created_for: object = None


class RecentCaches:
    """The KV caches of the most recent chats.

    Attributes:
        capacity: The maximum number of caches.
    """

    def __init__(
        self, make: Callable[[], tuple[Any, Any]], *, capacity: int = 1, has_room: Callable[[], bool] = lambda: True
    ) -> None:
        """Start without any cache.

        Args:
            make: Creates a generator; returns it and its parameters.
            capacity: The maximum number of caches.
            has_room: Whether there is memory for one more; called only from the second cache on.
        """
        self._make = make
        self._has_room = has_room
        self.capacity = capacity
        self._caches: list[Cache] = []
        self._clock = itertools.count(1)

    def __len__(self) -> int:
        return len(self._caches)

    def cached_ids(self, *, ready: bool = False) -> list[list[int]]:
        """Return the reusable tokens of each cache, or only of those that are ready.

        If a cache is not ready, its last token has to be computed again.
        """
        return [
            cache.tokens if cache.ready else cache.tokens[:-1] for cache in self._caches if cache.ready or not ready
        ]

    def take(
        self, prompt: Sequence[int], *, ahead: bool = False, fresh: bool = False, created_for: object = None
    ) -> Cache:
        """Return the cache in which the prompt is cheapest to compute, without discarding more than it saves.

        That is the one sharing the longest prefix, unless more tokens would be cut than are shared. In that case the
        prompt belongs to another chat and gets a new cache, or the least recently used one.

        Args:
            prompt: The token ids to compute.
            ahead: Whether the prompt is still incomplete. If it is complete, a cache containing all of it is used
                whatever follows there, as when regenerating a reply.
            fresh: Whether a new library object is required.
            created_for: Settings the library object must have been created with.
        """
        cache = self._choose(prompt, ahead)
        if cache.used and (fresh or cache.created_for != created_for):
            self._caches.remove(cache)
            del cache  # frees its memory before the next is created
            cache = self._add()
        if not cache.used:
            cache.created_for = created_for
        cache.used = next(self._clock)
        return cache

    def _choose(self, prompt: Sequence[int], ahead: bool) -> Cache:
        if not self._caches:
            return self._add()
        best = max(self._caches, key=lambda cache: (common_prefix(cache.tokens, prompt), cache.used))
        shared = common_prefix(best.tokens, prompt)
        lost = len(best.tokens) - shared
        again = not ahead and shared >= len(prompt) - 1
        if self.capacity == 1 or lost <= max(shared, WORTH_KEEPING) or again:
            return best
        if len(self._caches) < self.capacity and self._has_room():
            return self._add()
        return min(self._caches, key=lambda cache: cache.used)

    def _add(self) -> Cache:
        cache = Cache(*self._make())
        self._caches.append(cache)
        return cache

    def drop(self) -> None:
        """Discard all caches."""
        self._caches.clear()
