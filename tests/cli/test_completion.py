"""Completion in shells: their scripts are printed, and complete."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edgechat.runtime import paths

COMMAND = paths.own_command()


def answer(instruction: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND,
        env={**os.environ, "_EDGECHAT_COMPLETE": instruction, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str) -> None:
    done = answer(f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert f"_EDGECHAT_COMPLETE={shell}_complete" in done.stdout
    assert "edgechat" in done.stdout


@pytest.mark.parametrize("instruction", ["elvish_source", "bash", "bash_", "1"])
def test_another_shell_is_told_of(instruction: str) -> None:
    done = answer(instruction)
    assert done.returncode == 2
    assert "zsh_source" in done.stderr
    assert done.stdout == ""


def test_words_fit() -> None:
    done = answer("bash_complete", COMP_WORDS="edgechat models sh", COMP_CWORD="2")
    assert done.stdout.strip() == "plain,show"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_it(tmp_path: Path) -> None:
    program = tmp_path / "edgechat"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(_EDGECHAT_COMPLETE=bash_source edgechat)"
COMP_WORDS=(edgechat cha) COMP_CWORD=1
_edgechat_completion edgechat
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "chats\n", done.stderr
