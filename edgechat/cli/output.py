"""Output of commands such as `edgechat models`: JSON, completions, and progress for people.

Results go to standard output; progress goes to standard error, as lines or as one line that is overwritten.
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
    # ASCII, so that an escape sequence in a model's metadata becomes \u001b and invalid Unicode does not stop the
    # output. YAML allows dates and keys that are not strings; they are printed as text.
    click.echo(json.dumps(_jsonable(data), indent=2, default=str))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(item) for item in value]
    return value


def narrate(text: str) -> None:
    """Print progress on standard error."""
    click.echo(f"edgechat: {text}", err=True)


class ProgressLine:
    """Progress of a long operation: an overwritten line on a terminal, and nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last_text = ""
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last_text:
            control(sys.stderr, ERASE)

    def __call__(self, done: int, total: int) -> None:
        """Show the percentage done."""
        self.show(f"{self._what} {done * 100 // max(1, total)} %")

    def show(self, what: str) -> None:
        """Show this text in the line."""
        text = f"edgechat: {what}"
        if self._live and text != self._last_text:
            control(sys.stderr, ERASE)
            click.echo(text, nl=False, err=True)
            self._last_text = text
