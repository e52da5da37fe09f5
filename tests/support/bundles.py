"""Packaged edgechats for tests: one is built a run, and started as on a device, with next to no environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgechat import __version__

needs_strip = pytest.mark.skipif(shutil.which("strip") is None, reason="no binutils here; .ci/run installs them")
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, as in .ci/run")


@dataclass(frozen=True)
class Bundle:
    """What `build/bundle.py --onefile` made.

    Attributes:
        folder: The folder form.
        single: The single file.
    """

    folder: Path
    single: Path

    @property
    def program(self) -> Path:
        """The program in the folder that a person starts."""
        return self.folder / "edgechat"

    @property
    def frozen(self) -> Path:
        """What PyInstaller made: on Linux the program above is a launcher that becomes it."""
        beside = self.folder / "edgechat.bin"
        return beside if beside.exists() else self.program

    def folder_copy(self, target: Path) -> Path:
        """The folder in another place, by hard links; its program."""
        shutil.copytree(self.folder, target, copy_function=os.link)
        return target / "edgechat"

    def single_copy(self, target: Path) -> Path:
        """The single file in another place, by a hard link."""
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.single, target)
        return target


def device(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a bare device: no Python, no CI, no opt-outs.

    Its temporary files have a folder of their own: a single file takes a copy that an earlier run left in /tmp.
    """
    temporary = str(home.with_name(f"{home.name}-temporary"))
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": temporary, **settings}


def start(
    command: Sequence[str | Path], environment: Mapping[str, str], *, cwd: Path | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, away from any terminal."""
    return subprocess.run(
        [str(word) for word in command],
        env=dict(environment),
        cwd=cwd or Path("/"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def self_test(command: Sequence[str | Path], environment: Mapping[str, str], *, cwd: Path | None = None) -> Any:
    """Run `--self-test`, which must succeed; what it told."""
    ended = start([*command, "--self-test"], environment, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["ok"], told
    return told


def version_name() -> str:
    """The folder a bundle of this version is in."""
    return f"edgechat-{__version__}"
