"""The command line itself: help, errors, exit codes, the way children are found."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from pathlib import Path

import click
import psutil
import pytest

from edgechat import __version__
from edgechat.cli.commands import COMMANDS
from edgechat.cli.main import CHILDREN, report, run
from edgechat.cli.terminal_output import control, gated
from edgechat.errors import EdgechatError, ExitCode
from edgechat.runtime import paths
from tests.support.terminal import Terminal, needs_tmux


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"edgechat {__version__}\n"


def test_help_teaches_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)
    assert "edgechat --continue" in told
    assert "_worker" not in told


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"edgechat {name}" in capsys.readouterr().out


@pytest.mark.parametrize("target", CHILDREN.values())
def test_every_child_can_be_found(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_an_unknown_word_gets_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modles"]) == ExitCode.USAGE
    assert "edgechat models" in capsys.readouterr().err
    assert run(["Hello there"]) == ExitCode.USAGE
    assert 'edgechat ask "Hello there"' in capsys.readouterr().err


def test_an_unknown_option_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--frobnicate"]) == ExitCode.USAGE
    assert "frobnicate" in capsys.readouterr().err


def test_a_bad_settings_file_is_told_by_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    paths.make_private(paths.config_dir())
    (paths.config_dir() / "config.toml").write_text("temperature = 'hot'", encoding="utf-8")
    assert run(["ask", "x"]) == ExitCode.USAGE
    assert "config.toml" in capsys.readouterr().err


def test_errors_are_shown_without_their_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    with gated():
        report(EdgechatError("Bad \x1b[31mname", "It holds \x9b0m.", "Next\x07"))
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\x9b" not in told
    assert "\x07" not in told
    assert "Bad ␛[31mname" in told


COMMAND = paths.own_command("--demo")


def demo(home: Path) -> Terminal:
    environment = {"EDGECHAT_HOME": str(home), "HOME": str(home.parent), "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    return Terminal(COMMAND, environment=environment, cwd=home.parent)


@needs_tmux
def test_the_demo_needs_no_model(own_home: Path) -> None:
    with demo(own_home) as terminal:
        terminal.wait_for("ready")
        terminal.press("Hello", "Enter")
        terminal.wait_for("scripted reply")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    assert not paths.models_dir().exists()


@needs_tmux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_chat_and_restores_the_terminal(own_home: Path, number: signal.Signals) -> None:
    with demo(own_home) as terminal:
        terminal.wait_for("ready")
        [process] = [
            process
            for process in psutil.process_iter(["cmdline", "environ"])
            # The terminal around it has the same words further on.
            if (process.info["cmdline"] or [])[: len(COMMAND)] == COMMAND
            and (process.info["environ"] or {}).get("EDGECHAT_HOME") == str(own_home)
        ]
        process.send_signal(number)
        shown = terminal.wait_for(f"exit code {128 + number}", seconds=20)
    assert "F1 help" not in shown  # the alternate screen is gone
    assert "Traceback" not in shown


@pytest.mark.parametrize("flag", ["--self-test", "--continue", "--demo"])
def test_a_flag_of_the_chat_is_not_taken_with_a_command(flag: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([flag, "models", "list"]) == 2
    assert flag in capfd.readouterr().err


HOSTILE = "x\x1b]52;c;aGk=\x07\x9b31m\x1b[2Jy\u202e"


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "show", HOSTILE],
        ["models", "add", HOSTILE],
        ["package", HOSTILE, "--out", "out"],
        ["package", HOSTILE, "--out", "out", "--alias", HOSTILE],
        ["models", "list", HOSTILE],
        ["chats", "show", HOSTILE],
        ["chats", "export", "--out", f"/nowhere/{HOSTILE}"],
        ["chats", "import", HOSTILE],
        ["ask", "--persona", HOSTILE, "x"],
        [HOSTILE],
        [f"--{HOSTILE}"],
    ],
)
def test_no_error_holds_what_a_terminal_obeys(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) != 0
    told = capfd.readouterr()
    assert told.err
    assert not set(told.out + told.err) & set("\x1b\x07\x9b\u202e")


def test_what_writes_past_every_helper_passes_the_gate(capfd: pytest.CaptureFixture[str]) -> None:
    with gated():
        sys.stderr.write(HOSTILE)
        sys.stderr.writelines([HOSTILE])
        print(HOSTILE, file=sys.stderr)
        click.echo(HOSTILE, err=True)
        click.secho(HOSTILE, err=True, color=True, bold=True)
        click.UsageError(HOSTILE).show()
        traceback.print_exception(ValueError(HOSTILE))
        control(sys.stderr, "\r\x1b[K")  # no terminal here
    told = capfd.readouterr().err
    assert told.count("\u241b]52") == 7
    assert not set(told) & set("\x1b\x07\x9b\u202e\r")


def test_a_pipe_gets_the_text_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    with gated():
        sys.stdout.write(HOSTILE)
    assert capfd.readouterr().out == HOSTILE
