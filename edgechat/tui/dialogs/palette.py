"""Textual's command palette, over a chat in which text may run from right to left, and what it offers at first.

Importing it is for who opens it. Nothing here runs a command.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.command import CommandPalette, DiscoveryHit, Hits
from textual.geometry import Region
from textual.strip import Strip
from textual.system_commands import SystemCommandsProvider
from textual.theme import ThemeProvider

from edgechat.i18n.catalog import _
from edgechat.tui.rtl import reordered_already


class Palette(CommandPalette):
    """The list of commands, or of whatever its providers offer."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw over the chat, whose lines are in the order in which they are seen already."""
        with reordered_already():
            return super().render_lines(crop)


class Commands(SystemCommandsProvider):
    """The app's commands in its own order; Textual's, by name, would have every slash command before the rest."""

    async def discover(self) -> Hits:
        """All of them, for a palette in which nothing is written yet."""
        for title, words, callback, shown in self.app.get_system_commands(self.screen):
            if shown:
                yield DiscoveryHit(title, callback, help=words)


def theme_palette(choose: Callable[[str], None]) -> Palette:
    """A palette of all themes.

    Args:
        choose: Is given the name of the one that is chosen.
    """

    class Themes(ThemeProvider):
        @property
        def commands(self) -> list[tuple[str, Callable[[], None]]]:
            return [(name, partial(choose, name)) for name in sorted(self.app.available_themes)]

    return Palette(providers=[Themes], placeholder=_("Search for themes"))
