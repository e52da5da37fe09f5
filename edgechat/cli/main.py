"""The `edgechat` command, and the one place where errors become words on standard error and exit codes.

Commands are imported when they are named, so that `edgechat` alone pays only for the TUI.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from edgechat import __version__
from edgechat.chat.text import printable
from edgechat.cli.options import model_option
from edgechat.errors import EdgechatError, ExitCode

COMMANDS = {
    "ask": "edgechat.cli.ask:ask",
    "bench": "edgechat.cli.bench:bench",
    "models": "edgechat.cli.models:models",
    "_bench-ids": "edgechat.cli.worker:bench_ids",
    "_bench-tui": "edgechat.cli.bench_tui:bench_tui",
    "_raw-loop": "edgechat.cli.worker:raw_loop",
    "_worker": "edgechat.cli.worker:worker",
    "_install-default": "edgechat.cli.install_default:install_default",
}
"""Where each command is found. Names that begin with an underscore are for edgechat's own child processes."""


class LazyGroup(click.Group):
    """A group that imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command a user may call."""
        return sorted(name for name in COMMANDS if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a word that names none gets the nearest one as a hint."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"Did you mean `edgechat {near[0]}`?" if near else f'To ask a question: edgechat ask "{args[0]}"'
            raise click.UsageError(f"{error.message} {hint}", ctx) from None


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@model_option
@click.option("-c", "--continue", "resume", is_flag=True, help="Go on with the last chat.")
@click.option("--system", metavar="TEXT", help="System message of new chats.")
@click.option("--demo", is_flag=True, help="Show the interface with a scripted reply and no model.")
@click.version_option(__version__, "-V", "--version", message="edgechat %(version)s")
@click.pass_context
def cli(ctx: click.Context, model_uri: str | None, resume: bool, system: str | None, demo: bool) -> None:
    """Chat with a language model on this machine: no network, no account, no telemetry.

    Without a command the chat opens in the terminal, with the installed model or the one named.

    \b
    Examples:
      edgechat                             chat
      edgechat --continue                  go on with the last chat
      edgechat --model-uri ./model         chat with an MLflow model folder
      edgechat ask "What is ONNX?"         one answer on standard output
      cat log.txt | edgechat ask Explain   with text from a pipe
    """
    ctx.obj = {"model_uri": model_uri}
    if ctx.invoked_subcommand is not None:
        gc.enable()  # off since edgechat.__main__
        return
    from edgechat.cli.chat import chat

    ctx.exit(chat(model_uri=model_uri, resume=resume, system=system, demo=demo))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; None for the process's own.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    try:
        code: Any = cli.main(
            args=None if arguments is None else list(arguments), prog_name="edgechat", standalone_mode=False
        )
        _flush()
        return int(code or 0)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; Python would complain once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(ExitCode.ERROR)


def report(error: EdgechatError) -> None:
    """Write an error for people on standard error, with nothing in it that a terminal would obey."""
    lines = [f"edgechat: {error.title}", error.message, error.hint and f"Next: {error.hint}"]
    if sys.stderr is not None:
        sys.stderr.write(printable("\n  ".join(line for line in lines if line)) + "\n")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
