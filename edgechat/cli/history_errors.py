"""Base classes for commands that use the history, which survive the discovery of damage."""

from __future__ import annotations

from typing import Any

import click

from edgechat.errors import StorageError


class HistoryCommand(click.Command):
    """A command that uses the history; if it finds damage it runs once more, on what recovery restored."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from edgechat.history.corruption import suspect_path
        from edgechat.runtime.paths import history_path

        try:
            return super().invoke(ctx)
        except StorageError:
            if not suspect_path(history_path()).exists():
                raise
        return super().invoke(ctx)


class HistoryGroup(click.Group):
    """A group of such commands."""

    command_class = HistoryCommand
