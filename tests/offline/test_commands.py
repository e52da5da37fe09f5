"""Every command under strace: none makes a socket of an internet family but those that say that they speak to a server.

The real program runs with an empty HOME, and without CI in the environment, which silences what must be shown to be
off. All commands of the table share one home, so that each finds models and chats to work on. As each process is traced
they take minutes: those that open a model or read a file from elsewhere run always, with what these need, the others
in the long campaigns (EDGECHAT_CAMPAIGN=long).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from edgechat.cli.commands import cli
from edgechat.runtime import paths
from tests.hostile.conftest import LONG
from tests.unit.convert.tiny_gguf import write_tiny_gguf

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (.ci/run installs it)"),
]

SPEAK_TO_A_SERVER = frozenset({("models", "outdated"), ("models", "pull"), ("models", "push"), ("sync",), ("serve",)})
"""Commands whose help says so; `package` does with --log and --register alone."""

TABLE: tuple[tuple[str, ...], ...] = (
    ("--version",),
    ("--help",),
    ("keys",),
    ("personas",),
    ("ask", "--max-tokens", "2", "Hi"),
    ("ask", "--show-prompt", "--no-history", "Hi"),
    ("--plain",),
    ("--self-test",),
    ("doctor",),
    ("bench", "--rounds", "1", "--tokens", "8"),
    ("chats", "list"),
    ("chats", "show", "1"),
    ("chats", "search", "Hi"),
    ("chats", "rename", "1", "Greeting"),
    ("chats", "set", "1", "--temperature", "0"),
    ("chats", "rate", "1", "--up"),
    ("chats", "pin", "1"),
    ("chats", "unpin", "1"),
    ("chats", "pin-turn", "1", "1"),
    ("chats", "duplicate", "1"),
    ("chats", "archive", "1"),
    ("chats", "unarchive", "1"),
    ("chats", "export", "1", "--out", "{work}/chat.json"),
    ("chats", "import", "{work}/chat.json"),
    ("chats", "delete", "1", "-y"),
    ("chats", "undelete", "1"),
    ("chats", "purge", "-y"),
    ("package", "{gguf}", "--out", "{work}/packaged"),
    ("package", "{genai}", "--out", "{work}/again", "--link"),
    ("package", "{hf}", "--out", "{work}/converted"),
    ("models", "list"),
    ("models", "add", "{work}/packaged", "--name", "tiny"),
    ("models", "show", "tiny"),
    ("models", "verify", "tiny"),
    ("models", "remove", "tiny", "-y"),
)
"""What is run, in this order."""

SAMPLE = (
    "ask --max",
    "--plain",
    "--self-test",
    "doctor",
    "bench",
    "chats export",
    "chats import",
    "package {gguf}",
    "package {genai}",
    "models add",
)
"""How the rows begin that run always."""


def rows() -> list[tuple[str, ...]]:
    return [row for row in TABLE if LONG or " ".join(row).startswith(SAMPLE)]


@dataclass(frozen=True)
class Place:
    """Where the commands work, and what their arguments name."""

    home: Path
    names: dict[str, str]

    def trace(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; its exit code, what it told, and the sockets all of its processes made."""
        log = self.home.parent / "trace"
        log.unlink(missing_ok=True)
        command = ["strace", "-f", "-o", str(log), "-e", "trace=socket,connect,bind", "-e", "signal=none"]
        ended = subprocess.run(
            [*command, *paths.own_command(*(argument.format(**self.names) for argument in arguments))],
            env={
                "HOME": str(self.home),
                "PATH": os.environ["PATH"],
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=self.names["work"],
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        return ended.returncode, ended.stdout[-1000:] + ended.stderr[-1000:], log.read_text(errors="replace")


@pytest.fixture(scope="module")
def place(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    base = tmp_path_factory.mktemp("sockets")
    home, work = base / "home", base / "work"
    models = home / ".local" / "share" / "edgechat" / "models"
    models.mkdir(parents=True)
    work.mkdir()
    shutil.copytree(default_model, models / default_model.name, copy_function=os.link)
    gguf = write_tiny_gguf(base / "tiny.gguf")
    return Place(home, {"work": str(work), "gguf": str(gguf), "genai": str(default_model)})


def internet(trace: str) -> list[str]:
    """Calls that name an internet family, but for those that the kernel refused: the doctor proves the confinement."""
    lines = [line for line in trace.splitlines() if re.search(r"AF_INET|AF_NETLINK|AF_PACKET", line)]
    return [line for line in lines if not re.search(r"socket\(.* = -1 EPERM", line)]


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def test_the_table_holds_every_command() -> None:
    def run(path: Sequence[str]) -> bool:
        return any(row[: len(path)] == tuple(path) for row in TABLE)

    assert all(any(" ".join(row).startswith(part) for row in TABLE) for part in SAMPLE)
    assert [path for path in leaves(cli) if path not in SPEAK_TO_A_SERVER and not run(path)] == []


@pytest.mark.parametrize("arguments", rows(), ids=" ".join)
def test_no_socket(place: Place, arguments: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    if "{hf}" in arguments:  # made by torch, which not everybody has
        place.names["hf"] = str(request.getfixturevalue("default_hf"))
    code, told, trace = place.trace(*arguments)
    assert code == 0, told
    assert "exited with 0" in trace
    assert internet(trace) == [], told


def test_those_that_speak_to_a_server_are_seen(place: Place) -> None:
    """The trace shows a socket where there is one: nothing listens on this port."""
    code, told, trace = place.trace("models", "pull", "models:/none/1", "--tracking-uri", "http://127.0.0.1:9")
    assert code != 0, told
    assert internet(trace)
