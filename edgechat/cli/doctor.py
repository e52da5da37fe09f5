"""`edgechat doctor`: checks the installation, for users and bug reports."""

from __future__ import annotations

import click

from edgechat.cli.output import json_option, narrate, print_json
from edgechat.errors import ExitCode


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine, this installation, the model and the chats.

    What is printed can be pasted into a bug report: the home folder, the names of the user and the machine are taken
    out, and nothing of the chats is looked at. Ends with exit code 1 if a check failed.

    \b
    With --json:
      schema   1; fields are only ever added
      version  edgechat's version
      ok       whether no check failed
      checks   a list of {id, title, state, detail, hint};
               state is "ok", "warn" or "fail"

    \b
    Examples:
      edgechat doctor
      edgechat doctor --json | jq -r '.checks[] | select(.state != "ok") | .id'
    """
    from edgechat import doctor as examination
    from edgechat.cli.build_info import version_text
    from edgechat.tui.keys import problems

    version = version_text()
    findings = examination.examine(version, key_problems=problems)
    if as_json:
        print_json(examination.as_json(findings, version))
    else:
        click.echo(examination.as_text(findings))
    failed = [finding.id for finding in findings if finding.state == "fail"]
    if failed:
        narrate(f"something is wrong: {', '.join(failed)}")
        raise click.exceptions.Exit(ExitCode.ERROR)
