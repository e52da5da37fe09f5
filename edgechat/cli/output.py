"""How the commands below `edgechat models` speak: JSON and completions for scripts and shells, narration for people.

The answer goes to standard output; what is going on goes to standard error, as lines and as one line written over.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from edgechat.cli.terminal_output import ERASE, control
from edgechat.errors import EdgechatError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an installed model."""
    from click.shell_completion import CompletionItem

    from edgechat.models.store import ModelStore

    try:
        return [CompletionItem(name) for name in ModelStore().names() if name.startswith(incomplete)]
    except EdgechatError:
        return []


def print_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    # ASCII: an escape sequence in a model's metadata arrives as \u001b, and broken Unicode does not stop the output.
    # YAML knows dates and keys that are no strings; they are printed as what they look like.
    click.echo(json.dumps(_jsonable(data), indent=2, default=str))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(item) for item in value]
    return value


def narrate(text: str) -> None:
    """Say what is going on, on standard error."""
    click.echo(f"edgechat: {text}", err=True)


class ProgressLine:
    """How far a long step came: a line written over on a terminal, and nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = ""
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            control(sys.stderr, ERASE)

    def __call__(self, done: int, total: int) -> None:
        """Tell how far it is."""
        self.show(f"{self._what} {done * 100 // max(1, total)} %")

    def show(self, what: str) -> None:
        """Show these words in the line."""
        text = f"edgechat: {what}"
        if self._live and text != self._shown:
            control(sys.stderr, ERASE)
            click.echo(text, nl=False, err=True)
            self._shown = text
