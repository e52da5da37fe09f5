"""Containers of which nothing is seen but their background.

The compositor asks every container for its lines, also where other widgets cover all of them, and those of the
conversation change whenever a line is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.geometry import Region

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.strip import Strip


class Ground(Vertical):
    """A column whose lines are all the same: no border above or below it, nothing written on it."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """One line, for all of them."""
        return one_for_all(super().render_lines, crop)


def one_for_all(render_lines: Callable[[Region], list[Strip]], crop: Region) -> list[Strip]:
    """The first of some lines, as often as there are lines."""
    return render_lines(Region(crop.x, crop.y, crop.width, min(1, crop.height))) * crop.height
