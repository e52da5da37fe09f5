"""What the commands over the history have in common: damage that one of them meets ends no command."""

from __future__ import annotations

from typing import Any

import click

from edgechat.errors import StorageError


class HistoryCommand(click.Command):
    """A command over the history; where it met damage it is run once more, on what the next opening found sound."""

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
