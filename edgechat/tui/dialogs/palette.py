"""Textual's command palette, over a chat in which text may run from right to left, and what it offers at first.

Importing it is for who opens it. Nothing here runs a command.
"""

from __future__ import annotations

from textual.command import CommandPalette, DiscoveryHit, Hits
from textual.system_commands import SystemCommandsProvider

from edgechat.tui.rtl import OverOthers


class Palette(OverOthers, CommandPalette):
    """The list of commands, or of whatever its providers offer."""


class Commands(SystemCommandsProvider):
    """The app's commands in its own order; Textual's, by name, would have every slash command before the rest."""

    async def discover(self) -> Hits:
        """All of them, for a palette in which nothing is written yet."""
        for title, words, callback, shown in self.app.get_system_commands(self.screen):
            if shown:
                yield DiscoveryHit(title, callback, help=words)
