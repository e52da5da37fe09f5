"""Keeps the garbage collector from holding up the keys.

A collection of everything walks all widgets and all imported modules and takes up to a quarter of a second, most often
in the middle of a reply. Here it comes between the replies instead, when nobody waits, and what lives as long as the
program is left out of it. The young generations are collected as usual, and nothing is left uncollected for good.
"""

from __future__ import annotations

import gc

_NEVER = 1_000_000


class Pauses:
    """Decides when everything is collected, from its making until `end`."""

    def __init__(self) -> None:
        self._thresholds = gc.get_threshold()
        young, middle, _ = self._thresholds
        gc.set_threshold(young, middle, _NEVER)
        gc.enable()  # it was off for the start

    def settle(self) -> None:
        """What is alive now stays alive: leave it out of every later collection."""
        gc.freeze()

    def collect(self) -> None:
        """Nobody waits: collect everything."""
        gc.collect()

    def end(self) -> None:
        """Leave the process as it was."""
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()
