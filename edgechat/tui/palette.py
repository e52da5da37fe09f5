"""The command palette's list: what one can do, before what one can write.

Textual sorts its own list by name, which puts every slash command before the rest. Nothing here runs a command.
"""

from __future__ import annotations

from textual.command import DiscoveryHit, Hits
from textual.system_commands import SystemCommandsProvider


class Commands(SystemCommandsProvider):
    """The app's commands in the order in which the app tells them."""

    async def discover(self) -> Hits:
        """All of them, for a palette in which nothing is written yet."""
        for title, words, callback, shown in self.app.get_system_commands(self.screen):
            if shown:
                yield DiscoveryHit(title, callback, help=words)
