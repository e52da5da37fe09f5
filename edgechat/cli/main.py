"""From arguments to an exit code, and the one place where errors become words on standard error.

What must start fast or lean, the chat by itself and edgechat's own child processes, is called from here directly;
click, with its help and completion, is imported for everything else.
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
from edgechat.i18n.catalog import _, is_chosen, told, use

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
"""The commands edgechat starts itself with: each a function of their arguments that returns the exit code."""

COMPLETION = "_EDGECHAT_COMPLETE"
"""The variable by which a shell asks for its script, `bash_source`, and later for words, `bash_complete`."""


def watch_faults() -> None:
    """Tell what goes wrong where nobody waits for it, in a process that is a user's."""
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # closed by whoever started us, who then wants no output
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    elif isinstance(sys.stdout, io.TextIOWrapper):
        # A model writes any character; one that the reader's encoding lacks must not end the answer.
        sys.stdout.reconfigure(errors="replace")
    with gated():
        return _guarded(given)


def _guarded(given: list[str]) -> int:
    """Run the command line; whatever goes wrong is told in words."""
    FaultError.forget()
    try:
        code = _call(given)
        sys.stdout.flush()
        return code or int(ExitCode.ERROR if FaultError.seen else ExitCode.OK)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _abandon_output()  # whoever read it has gone, as `head` does
        return int(ExitCode.ERROR)
    except OSError as error:
        _abandon_output()
        report(StorageError("Output cannot be written", f"{error.strerror or error}."))
        return int(ExitCode.STORAGE)
    except Exception as error:  # nobody is to read a traceback; the log has it
        from edgechat.runtime import logs

        logs.start()
        report(fault := logs.fault(error, "a command"))
        return int(fault.exit_code)


def _abandon_output() -> None:
    """Keep Python from complaining once more on exit about what it could not write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _call(arguments: list[str]) -> int:
    if not arguments and COMPLETION not in os.environ:
        from edgechat.cli.chat import chat

        return chat()
    if arguments and arguments[0] in CHILDREN:
        module, _, name = CHILDREN[arguments[0]].partition(":")
        child: Callable[..., int] = getattr(importlib.import_module(module), name)
        return child(*arguments[1:])
    gc.enable()  # off since edgechat.__main__; the chat turns it on when it has painted
    from edgechat.cli.commands import invoke

    return invoke(arguments)


def _speak() -> None:
    """Choose the language of the settings, for an error that came before anything did."""
    if not is_chosen():
        from edgechat.settings.loader import load_config

        with suppress(EdgechatError):  # which may be the very one that is to be told
            use(load_config().language)


def report(error: EdgechatError) -> None:
    """Write an error for people on standard error."""
    _speak()
    hint = error.hint and _("Next: {hint}").format(hint=told(error.hint))
    lines = [f"edgechat: {told(error.title)}", told(error.message), hint]
    if sys.stderr is not None:
        sys.stderr.write("\n  ".join(line for line in lines if line) + "\n")
