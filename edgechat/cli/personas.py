"""`edgechat personas`: lists the stored system messages, and errors in their files."""

from __future__ import annotations

import click

from edgechat.chat.sanitize import printable
from edgechat.cli.main import report
from edgechat.errors import ExitCode


@click.command()
@click.argument("name", required=False)
@click.pass_context
def personas(ctx: click.Context, name: str | None) -> None:
    """List the personas, or show one: system messages that are saved under a name.

    Put your own into the folder `personas` next to the settings: NAME.md, whose first line is `# Title`.

    \b
    Examples:
      edgechat personas                     all of them
      edgechat personas checklist           what that one tells the model
      edgechat --persona checklist          chat with it
    """
    from edgechat.settings.personas import all_personas, find, folder

    if name is not None:
        click.echo(find(name).text)
        return
    found, faults = all_personas()
    width = max(len(persona.name) for persona in found)
    for persona in found:
        own = "" if persona.shipped else "  (yours)"
        click.echo(printable(f"{persona.name.ljust(width)}  {persona.title}{own}"))
    click.echo(f"Your own go into {folder()}", err=True)
    for fault in faults:
        report(fault)
    if faults:
        ctx.exit(ExitCode.USAGE)
