"""The public commands: the click group and its help.

Each command is imported when it is named. `edgechat` alone does not import this module.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, get_args

import click

from edgechat.chat.context_window import Policy
from edgechat.cli.main import COMPLETION
from edgechat.cli.options import history_option, log_option, model_option, persona_option
from edgechat.errors import ConfigError, ExitCode
from edgechat.i18n.sentence import Sentence

COMMANDS = {
    "ask": "edgechat.cli.ask:ask",
    "bench": "edgechat.cli.bench:bench",
    "chats": "edgechat.cli.chats:chats",
    "doctor": "edgechat.cli.doctor:doctor",
    "keys": "edgechat.cli.keys:keys",
    "models": "edgechat.cli.models:models",
    "package": "edgechat.cli.package:package",
    "sync": "edgechat.cli.sync:sync",
    "personas": "edgechat.cli.personas:personas",
}
"""The location of each command."""


class LazyGroup(click.Group):
    """A group that imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every public command."""
        return sorted(COMMANDS)

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
        """Find the command; for an unknown name, suggest the most similar one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"Did you mean `edgechat {near[0]}`?" if near else f'To ask a question: edgechat ask "{args[0]}"'
            raise click.UsageError(f"{error.message} {hint}", ctx) from None


def _version(ctx: click.Context, param: click.Parameter, requested: bool) -> None:
    if requested:
        # Only read when requested, since it requires reading a file.
        from edgechat.cli.build_info import version_text

        click.echo(f"edgechat {version_text()}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@model_option
@click.option("-c", "--continue", "resume", is_flag=True, help="Continue the last chat.")
@click.option("--chat", "chat_id", type=int, metavar="ID", help="Continue that chat; see `edgechat chats list`.")
@click.option("--system", metavar="TEXT", help="System message of new chats.")
@persona_option
@history_option
@log_option
@click.option(
    "--context-policy",
    type=click.Choice(get_args(Policy)),
    help="When a chat no longer fits: stop and ask, leave out its oldest turns, or summarise them.",
)
@click.option(
    "--plain",
    is_flag=True,
    default=None,
    help="Line-based chat for screen readers and pipes, without animation or colour.",
)
@click.option("--demo", is_flag=True, help="Show the interface with a scripted reply and no model.")
@click.option("--self-test", is_flag=True, help="Load, answer, save, prove offline; print a line of JSON.")
@click.option(
    "-V", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
)
@click.pass_context
def cli(
    ctx: click.Context,
    model_uri: str | None,
    resume: bool,
    chat_id: int | None,
    system: str | None,
    persona: str | None,
    history: bool | None,
    log_level: str | None,
    context_policy: str | None,
    plain: bool | None,
    demo: bool,
    self_test: bool,
) -> None:
    """Chat with a language model on this machine: no network, no account, no telemetry.

    Without a command the chat opens in the terminal, with the installed model or the one named.

    \b
    Examples:
      edgechat                             chat
      edgechat --continue                  continue the last chat
      edgechat --chat 12                   continue that one; see edgechat chats list
      edgechat --model-uri ./model         chat with an MLflow model folder
      edgechat ask "What is ONNX?"         one answer on standard output
      cat log.txt | edgechat ask Explain   with text from a pipe
      edgechat --self-test                 is everything right on this device?
    """
    ctx.obj = {"model_uri": model_uri, "system": system, "persona": persona, "history": history}
    if ctx.invoked_subcommand is not None:
        flags = {
            "--continue": resume,
            "--chat": chat_id is not None,
            "--log-level": log_level,
            "--context-policy": context_policy,
            "--plain": plain,
            "--demo": demo,
            "--self-test": self_test,
        }
        for flag, is_set in flags.items():
            if is_set:
                raise click.UsageError(f"{flag} goes without a command, and not with `{ctx.invoked_subcommand}`.", ctx)
        return
    if self_test:
        from edgechat.cli.self_test import self_test as run_self_test

        ctx.exit(run_self_test(model_uri, history=history))
    if resume and chat_id is not None:
        raise click.UsageError("--continue and --chat name two chats; give one of them.", ctx)
    from edgechat.cli.chat import chat

    ctx.exit(
        chat(
            model_uri=model_uri,
            resume=resume,
            chat_id=chat_id,
            system=system,
            persona=persona,
            history=history,
            context_policy=context_policy,
            log_level=log_level,
            demo=demo,
            plain=plain,
        )
    )


def _complete(instruction: str) -> int:
    """Answer a shell's completion request: its script, or matching words."""
    from click.shell_completion import get_completion_class, shell_complete

    shell, _, what = instruction.partition("_")
    if get_completion_class(shell) is None or what not in ("source", "complete"):
        raise ConfigError(
            "No such completion",
            Sentence(
                "{completion} is {instruction}; there are bash_source, zsh_source and fish_source.",
                completion=COMPLETION,
                instruction=f"{instruction!r}",
            ),
            Sentence('For bash: eval "$({completion}=bash_source edgechat)"', completion=COMPLETION),
        )
    return shell_complete(cli, {}, "edgechat", COMPLETION, instruction)


def invoke(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name.

    Returns:
        The exit code.

    Raises:
        EdgechatError: The command failed.
    """
    try:
        if instruction := os.environ.get(COMPLETION):
            return _complete(instruction)
        code: Any = cli.main(args=list(arguments), prog_name="edgechat", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return int(ExitCode.INTERRUPTED)
