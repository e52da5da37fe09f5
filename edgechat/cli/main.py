"""Turns arguments into an exit code, and errors into messages on standard error.

What has to start fast or lean (the chat itself and edgechat's own child processes) is called from here directly; for
everything else click, with its help and completion, is imported.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edgechat.cli.terminal_output import gated
from edgechat.errors import EdgechatError, ExitCode, FaultError, StorageError
from edgechat.i18n.catalog import _, is_chosen, use
from edgechat.i18n.error_messages import translate_error

CHILDREN = {
    "_bench-ids": "edgechat.bench.children:ids",
    "_bench-scoring": "edgechat.bench.pyfunc_child:main",
    "_bench-tui": "edgechat.bench.children:tui",
    "_confinement": "edgechat.runtime.sandbox:report",
    "_copy": "edgechat.runtime.clipboard:main",
    "_install-default": "edgechat.cli.install_default:main",
    "_raw-loop": "edgechat.bench.raw_loop:main",
    "_worker": "edgechat.engine.worker.process:main",
}
"""Internal commands: each a function that takes its arguments and returns the exit code."""

COMPLETION = "_EDGECHAT_COMPLETE"
"""Variable with which a shell requests its script, `bash_source`, and later completions, `bash_complete`."""


def watch_faults() -> None:
    """Report uncaught exceptions in threads and the interpreter, in a process that belongs to a user."""
    if sys.argv[1:2] and sys.argv[1] in CHILDREN:
        return
    from edgechat.runtime import crash_handler

    crash_handler.watch(report)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; None for the process's own.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # closed by the parent process, which wants no output
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    elif isinstance(sys.stdout, io.TextIOWrapper):
        # A model can write any character; one missing from the reader's encoding must not end the answer.
        sys.stdout.reconfigure(errors="replace")
    with gated():
        return _guarded(argv)


def _guarded(argv: list[str]) -> int:
    """Run the command line and report any error."""
    FaultError.forget()
    try:
        code = _call(argv)
        sys.stdout.flush()
        return code or int(ExitCode.ERROR if FaultError.seen else ExitCode.OK)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _abandon_output()  # the reader has gone, as with `head`
        return int(ExitCode.ERROR)
    except OSError as error:
        _abandon_output()
        report(StorageError("Output cannot be written", f"{error.strerror or error}."))
        return int(ExitCode.STORAGE)
    except Exception as error:  # show no traceback; the log has it
        from edgechat.runtime import logs

        logs.start()
        report(fault := logs.fault(error, "a command"))
        return int(fault.exit_code)


def _abandon_output() -> None:
    """Keep Python from reporting again on exit what it could not write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _call(arguments: list[str]) -> int:
    if not arguments and COMPLETION not in os.environ:
        from edgechat.cli.chat import chat

        return chat()
    if arguments and arguments[0] in CHILDREN:
        module, _, name = CHILDREN[arguments[0]].partition(":")
        child: Callable[..., int] = getattr(importlib.import_module(module), name)
        return child(*arguments[1:])
    gc.enable()  # disabled in edgechat.__main__; the chat enables it after its first paint
    from edgechat.cli.commands import invoke

    return invoke(arguments)


def _speak() -> None:
    """Select the language from the settings, for an error that occurred before that."""
    if not is_chosen():
        from edgechat.settings.loader import load_config

        with suppress(EdgechatError):  # possibly the very one to be reported
            use(load_config().language)


def report(error: EdgechatError) -> None:
    """Write an error for people to standard error."""
    _speak()
    hint = error.hint and _("Next: {hint}").format(hint=translate_error(error.hint))
    lines = [f"edgechat: {translate_error(error.title)}", translate_error(error.message), hint]
    if sys.stderr is not None:
        sys.stderr.write("\n  ".join(line for line in lines if line) + "\n")
