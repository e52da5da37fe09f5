"""`edgechat keys`: lists the interface's key bindings by name, with their actions."""

from __future__ import annotations

import json

import click

from edgechat.errors import ExitCode
from edgechat.settings.loader import load_config


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def keys(ctx: click.Context, as_json: bool) -> None:
    """List every key of the chat, by the names under which the settings file can change it.

    \b
    In the settings file:
      [keys]
      "chat.new" = "ctrl+n,f7"

    \b
    Examples:
      edgechat keys
      edgechat keys | grep chat
    """
    from edgechat.i18n.catalog import _
    from edgechat.tui.keys import entries, key_words, keys_of, problems

    own = load_config().keys
    bindings = [(entry, keys_of(entry, own)) for entry in entries()]
    if as_json:
        values = [{"id": entry.id, "keys": now.split(","), "about": _(entry.about)} for entry, now in bindings]
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        names = max(len(entry.id) for entry, _keys in bindings)
        width = max(len(key_words(now, 0)) for _entry, now in bindings)
        for entry, now in bindings:
            click.echo(f"{entry.id.ljust(names)}  {key_words(now, 0).ljust(width)}  {_(entry.about)}")
    wrong = problems(own)
    for words in wrong:
        click.echo(f"edgechat: {words}", err=True)
    if wrong:
        ctx.exit(ExitCode.USAGE)
