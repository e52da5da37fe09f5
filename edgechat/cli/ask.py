"""`edgechat ask`: one question, one answer on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing, suppress

import click

from edgechat.cli.options import history_option, model_option, persona_option
from edgechat.cli.standard_input import piped_text
from edgechat.cli.terminal_output import ERASE, control
from edgechat.engine.prompt_display import format_summary, part_lines
from edgechat.engine.protocol import Finished, Progress, Prompt, TextDelta
from edgechat.errors import ConfigError, EdgechatError, ExitCode
from edgechat.runtime import shutdown_deadline
from edgechat.session.factory import engine_for, history_for, pulled_notice
from edgechat.session.prompt_builder import sampling_of
from edgechat.session.session import Session, TurnClosed, TurnSaved
from edgechat.settings.loader import load_settings
from edgechat.settings.personas import system_message


@click.command()
@click.argument("question", nargs=-1)
@model_option
@history_option
@click.option("--system", metavar="TEXT", help="System message: the role the model plays.")
@persona_option
@click.option("--max-tokens", type=int, metavar="N", help="Maximum length of the answer.")
@click.option("--temperature", type=float, metavar="T", help="0 always takes the likeliest word; up to 2.")
@click.option("--seed", type=int, metavar="N", help="Makes the answer repeatable.")
@click.option(
    "--stdin/--no-stdin",
    "use_stdin",
    default=None,
    help="Read standard input to its end, or leave it alone; the default depends on what it is, see above.",
)
@click.option("--show-prompt", is_flag=True, help="Show what the model read, with its tokens, on standard error.")
@click.pass_context
def ask(
    ctx: click.Context,
    question: tuple[str, ...],
    model_uri: str | None,
    history: bool | None,
    system: str | None,
    persona: str | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    use_stdin: bool | None,
    show_prompt: bool,
) -> None:
    """Ask one question and print the answer as it is generated.

    Text from a pipe or a file is appended to the question; without a question it is the question. A file that something
    else is already reading, such as the loop around this command, is left alone; with a pipe that cannot be detected,
    so add --no-stdin in a loop over one. The exchange is saved in the history like any chat, unless --no-history is
    given. Ctrl+C stops the answer.

    \b
    Examples:
      edgechat ask "Why is the sky blue?"
      edgechat ask --temperature 0 --max-tokens 50 "Name three rivers."
      git diff | edgechat ask "Write a commit message for this change."
      while read -r q; do edgechat ask "$q"; done < questions.txt
      grep -h "?" *.txt | while read -r q; do edgechat ask --no-stdin "$q"; done

    \b
    Exit codes: 0 answered, 2 wrong usage or setting, 3 model, 4 engine, 5 storage, 130 stopped.
    """
    before = ctx.obj or {}  # what was given in front of the command
    settings = load_settings(
        model_uri=model_uri or before.get("model_uri"),
        history=before.get("history") if history is None else history,
        system=before.get("system") if system is None else system,
        persona=before.get("persona") if persona is None else persona,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    config = settings.config
    said = system_message(settings)
    text = _question(" ".join(question), use_stdin)
    if pulled := pulled_notice(config):
        _narrate(pulled)
    store = history_for(config, _narrate)
    session = Session(
        engine_for(config),
        store,
        system=said,
        sampling=sampling_of(config),
        max_tokens=config.max_tokens,
        context_policy=config.context_policy,
    )
    try:
        finished = asyncio.run(_ask(session, text, show_prompt=show_prompt))
    except KeyboardInterrupt:
        _narrate("stopped")
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    except asyncio.CancelledError:
        raise click.exceptions.Exit(128 + signal.SIGTERM) from None
    if finished.reason == "length":
        _narrate("the answer was cut at the length limit")


def _question(words: str, use_stdin: bool | None) -> str:
    piped = piped_text(_narrate, question=bool(words.strip()), use_stdin=use_stdin)
    text = "\n\n".join(part for part in (words, piped.strip("\n")) if part.strip())
    if not text:
        raise ConfigError("No question", "Nothing was asked.", 'Try: edgechat ask "Why is the sky blue?"')
    return text


async def _ask(session: Session, text: str, *, show_prompt: bool) -> Finished:
    """Stream the answer; Ctrl+C and SIGTERM cancel it but keep the text so far."""
    task = asyncio.current_task()
    if os.name == "posix" and task is not None:  # elsewhere the event loop does not support signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _leave, task)
    progress = _Progress()
    loading = asyncio.create_task(session.start(progress))
    end = "\n"
    try:
        async with aclosing(session.send(text)) as events:
            async for event in events:
                if isinstance(event, TurnSaved):
                    for notice in event.notices:
                        _narrate(notice)
                elif isinstance(event, TextDelta):
                    progress.clear()
                    end = "" if event.text.endswith("\n") else "\n"
                    _write(event.text)
                elif isinstance(event, TurnClosed):
                    _write(end)
                    if show_prompt:
                        _show(await session.prompts.parts())
                    return event.finished
        raise AssertionError("a reply ends with TurnClosed or an error")
    except EdgechatError:
        if not any(turn.reply is not None and turn.reply.text for turn in session.conversation.turns):
            with suppress(EdgechatError):  # report the first error
                await session.library.delete_chat()  # it contains nothing the shell does not have
        raise
    except asyncio.CancelledError:
        _write(end)
        raise
    finally:
        progress.clear()
        loading.cancel()
        await asyncio.wait({loading})
        if not loading.cancelled():
            loading.exception()  # the same error was reported by the reply
        await session.aclose()


def _leave(task: asyncio.Task[object]) -> None:
    """Shut down within the time limit, keeping the text so far."""
    shutdown_deadline.start(128 + signal.SIGTERM)
    task.cancel()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _narrate(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"edgechat: {text}\n")


def _show(prompt: Prompt) -> None:
    """Print the prompt's parts, one per line: whether cached, the text, the ids."""
    _narrate(f"the prompt has {format_summary(prompt)}")
    for line in part_lines(prompt):
        sys.stderr.write(f"{line.sign} {line.text}  {line.ids}".rstrip() + "\n")


class _Progress:
    """A status line on standard error that is overwritten, or one line per 25% if it is not a terminal."""

    def __init__(self) -> None:
        self._last_text = ""
        self._last_percent = -25

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "install":
            text = f"preparing the model for its first use: {progress.done * 100 // max(1, progress.total)} %"
        elif progress.phase == "check":
            text = f"checking the model's files: {progress.done * 100 // max(1, progress.total)} %"
        else:
            text = "loading the model"
        if sys.stderr is None or text == self._last_text:
            return
        if sys.stderr.isatty():
            control(sys.stderr, ERASE)
            sys.stderr.write(text)
            sys.stderr.flush()
        elif progress.phase == "install" and progress.done >= self._last_percent + 25:
            self._last_percent = progress.done
            _narrate(text)
        self._last_text = text

    def clear(self) -> None:
        """Remove the line before other output."""
        if self._last_text:
            control(sys.stderr, ERASE)
        self._last_text = ""
