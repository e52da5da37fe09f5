"""The packaged edgechat on devices that have little: no Python, no network, no home, no room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bare_machine import NOBODY, TOOLS, BareMachine
from tests.support.bundles import Bundle, device, needs_root, self_test, start
from tests.support.terminal import Terminal, needs_tmux

pytestmark = [pytest.mark.model, pytest.mark.skipif(sys.platform != "linux", reason="these are devices with Linux")]


def binaries(bundle: Bundle) -> list[Path]:
    return [bundle.frozen, *(path for path in bundle.folder.rglob("*.so*") if path.is_file())]


@pytest.fixture
def machine(bundle: Bundle, open_folder: Path) -> BareMachine:
    """A machine that has the C library, zlib, `env`, and nothing else."""
    return BareMachine(open_folder / "root", binaries(bundle), tools=["env"])


def rename_loader(machine: BareMachine, bundle: Bundle, version: str) -> None:
    """Let the C library of a bare machine be of another version, as its loader tells it by its name."""
    loader = machine.root / json.loads((bundle.folder / "bundle.json").read_text())["loader"][1:]
    loader.rename(loader.with_name(f"ld-{version}.so"))
    loader.symlink_to(f"ld-{version}.so")


@needs_root
class TestBareMachine:
    """Not root, no network, no Python, a read-only disk, a path with spaces and letters of other scripts."""

    def test_it_loads_answers_and_saves(self, bundle: Bundle, machine: BareMachine) -> None:
        command = machine.command(bundle.folder, f"{machine.PLACE}/edgechat", "--self-test")
        ended = start(command, os.environ)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        told = json.loads(ended.stdout)
        assert told["packaged"]
        assert told["model"]["name"] == "smollm2-135m-instruct"
        assert told["offline"] == {"sockets": [], "opted_out": True}
        assert told["history"] == {"folder": f"{machine.HOME}/.local/share/edgechat", "written": True, "own": False}
        assert "Paris" in told["reply"]["text"]

    @needs_tmux
    def test_a_chat_in_a_terminal(self, bundle: Bundle, machine: BareMachine) -> None:
        command = machine.command(
            bundle.folder, f"{machine.PLACE}/edgechat", environment=["TERM=screen-256color", "EDGECHAT_TEMPERATURE=0"]
        )
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        with Terminal(command, environment=environment, cwd=Path("/")) as terminal:
            terminal.wait_for("ready")
            terminal.press("What is the capital of France?", "Enter")
            terminal.wait_for("Paris")
            terminal.wait_for("tok/s")
            terminal.wait_for("ready")
            terminal.press("Tell me a very long story about a lighthouse keeper.", "Enter")
            terminal.wait_for("writing")
            terminal.press("Escape")
            terminal.wait_for("stopped")
            terminal.press("C-q")
            terminal.wait_for("exit code 0")

    def test_the_single_file(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle), tools=TOOLS)
        inside = f"{machine.PLACE}/{bundle.single.name}"
        ended = start(machine.command(bundle.single.parent, inside, "--self-test"), os.environ)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        told = json.loads(ended.stdout)
        assert told["ok"]
        assert told["model"]["folder"].startswith(f"{machine.HOME}/.cache/edgechat/unpacked/")

    def test_without_a_home_it_says_where_chats_are(self, bundle: Bundle, machine: BareMachine) -> None:
        command = machine.command(bundle.folder, "/bin/env", "-u", "HOME", f"{machine.PLACE}/edgechat", "--self-test")
        ended = start(command, os.environ)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert json.loads(ended.stdout)["history"]["folder"] == f"{machine.TEMPORARY}/edgechat-{NOBODY}/data"

    @needs_tmux
    def test_without_a_home_the_chat_says_so(self, bundle: Bundle, machine: BareMachine) -> None:
        command = machine.command(
            bundle.folder, "/bin/env", "-u", "HOME", f"{machine.PLACE}/edgechat", environment=["TERM=screen-256color"]
        )
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        with Terminal(command, environment=environment, cwd=Path("/")) as terminal:
            terminal.wait_for("no home folder")
            terminal.wait_for("ready")
            terminal.press("C-q")
            terminal.wait_for("exit code 0")


@needs_root
class TestSystemThatCannotRunIt:
    """The loader of the system would end the program in its own words: what is missing is said before that."""

    def fail(self, machine: BareMachine, shared: Path, name: str, *environment: str) -> str:
        """Start it in vain; give what it says."""
        command = machine.command(shared, f"{machine.PLACE}/{name}", "--version", environment=environment)
        ended = start(command, os.environ)
        assert ended.returncode in (1, 5), ended.stdout + ended.stderr
        assert ended.stdout == ""
        assert ended.stderr.startswith("edgechat: ")
        assert len(ended.stderr.splitlines()) == 3, ended.stderr
        return ended.stderr

    def test_another_c_library(self, bundle: Bundle, open_folder: Path) -> None:
        """As Alpine with musl: there is no loader, and no program of ours to say so but one that needs none."""
        told = json.loads((bundle.folder / "bundle.json").read_text())
        words = self.fail(BareMachine(open_folder / "root", []), bundle.folder, "edgechat")
        assert told["loader"] in words
        assert f"glibc {told['glibc']} or newer" in words
        assert "Debian" in words

    @pytest.mark.parametrize("version", ["2.17", "2.3", "1.99"])
    def test_an_old_c_library(self, bundle: Bundle, open_folder: Path, version: str) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle))
        rename_loader(machine, bundle, version)
        words = self.fail(machine, bundle.folder, "edgechat")
        assert "too old" in words
        assert f"has {version}\n" in words

    def test_a_loader_that_tells_its_version_inside(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", [])
        loader = machine.root / json.loads((bundle.folder / "bundle.json").read_text())["loader"][1:]
        loader.parent.mkdir(parents=True)
        loader.write_bytes(b"\x7fELF" + bytes(5000) + b"ld.so (GNU libc) stable release version 2.28.\n" + bytes(5000))
        assert "has 2.28\n" in self.fail(machine, bundle.folder, "edgechat")

    @pytest.mark.parametrize("version", ["2.99", "3.0", "nonsense"])
    def test_a_newer_one_or_one_that_does_not_say_is_let_through(
        self, bundle: Bundle, open_folder: Path, version: str
    ) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle))
        rename_loader(machine, bundle, version)
        ended = start(machine.command(bundle.folder, f"{machine.PLACE}/edgechat", "--version"), os.environ)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("edgechat ")

    def test_the_single_file(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle), tools=TOOLS)
        rename_loader(machine, bundle, "2.17")
        assert "too old" in self.fail(machine, bundle.single.parent, bundle.single.name)

    def test_through_a_link(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle))
        link = machine.root / "bin" / "chat"
        link.symlink_to(f"{machine.PLACE}/edgechat")
        ended = start(machine.command(bundle.folder, "/bin/chat", "--version"), os.environ)
        assert ended.returncode == 0, ended.stderr

    def test_copies_that_are_not_whole(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle))
        copy = open_folder / "copy"
        program = bundle.folder_copy(copy)
        (copy / "edgechat.bin").unlink()
        assert "edgechat.bin\n" in (words := self.fail(machine, copy, "edgechat"))
        assert "Copy the whole folder again" in words
        shutil.copyfile(bundle.frozen, copy / "edgechat.bin")  # as a stick's file system gives it: no right to be run
        assert "may not be started" in self.fail(machine, copy, "edgechat")
        (copy / "edgechat.bin").write_bytes(b"MZ" + bytes(1000))
        (copy / "edgechat.bin").chmod(0o755)
        assert "another machine" in self.fail(machine, copy, "edgechat")
        assert program.exists()

    def test_whoever_has_double_clicked_sees_a_dialog(self, bundle: Bundle, open_folder: Path) -> None:
        machine = BareMachine(open_folder / "root", binaries(bundle), tools=["sh", "cat"])
        dialog = machine.root / "usr" / "bin" / "zenity"
        dialog.parent.mkdir(parents=True, exist_ok=True)
        dialog.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        dialog.chmod(0o755)
        copy = open_folder / "copy"
        bundle.folder_copy(copy)
        (copy / "edgechat.bin").unlink()
        command = machine.command(copy, f"{machine.PLACE}/edgechat", environment=["DISPLAY=:0"])
        ended = start(command, os.environ)
        assert ended.returncode == 5
        assert "edgechat: A file is missing" in ended.stdout
        assert "Copy the whole folder again" in ended.stdout


@needs_root
def test_a_gigabyte_is_enough(bundle: Bundle, home: Path) -> None:
    """In a memory group of 1 GB without swap, nothing is killed and the context is as large as ever."""
    group = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes"
    if not (group / limit).exists():
        group, limit = Path("/sys/fs/cgroup"), "memory.max"
        assert (group / "cgroup.controllers").exists(), "no memory groups here"
    own = group / f"edgechat-test-{os.getpid()}"
    own.mkdir()
    try:
        (own / limit).write_text(str(1024**3))
        enter = f'echo $$ > "{own}/cgroup.procs"; exec "$@"'
        told = self_test(["sh", "-c", enter, "sh", bundle.program], device(home))
        assert told["load"]["context"] == 8192
    finally:
        own.rmdir()


def test_two_at_once_from_somewhere_else(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "somewhere else"
    elsewhere.mkdir()
    (elsewhere / "numpy").mkdir()
    (elsewhere / "numpy" / "__init__.py").write_text("raise SystemExit('the working directory was imported')")
    program = Path(os.path.relpath(bundle.program, elsewhere))
    running = [
        subprocess.Popen(
            [str(program), "--self-test"], cwd=elsewhere, env=device(home), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        assert json.loads(out)["ok"]
    assert {path.name for path in elsewhere.iterdir()} == {"numpy"}


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_XX.nothing", ""])
def test_any_locale(bundle: Bundle, home: Path, locale: str) -> None:
    environment = device(home, LC_ALL=locale, EDGECHAT_TEMPERATURE="0")
    ended = start([bundle.program, "ask", "--max-tokens", "8", "Grüße, 世界 😀"], environment)
    assert ended.returncode == 0, ended.stderr
    shown = start([bundle.program, "models", "show"], environment)
    assert shown.returncode == 0, shown.stderr


@needs_tmux
@pytest.mark.parametrize("term", [None, "linux", "nonsense"])
def test_any_terminal(bundle: Bundle, home: Path, term: str | None) -> None:
    kind = ["-u", "TERM"] if term is None else [f"TERM={term}"]
    command = ["env", *kind, str(bundle.program)]
    with Terminal(command, environment=device(home, LC_ALL="C"), cwd=home) as terminal:
        terminal.wait_for("ready")
        terminal.press("Hello", "Enter")
        terminal.wait_for("tok/s")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    assert not (home / ".terminfo").exists()


@needs_tmux
def test_a_terminal_that_can_only_show_lines(bundle: Bundle, home: Path) -> None:
    command = ["env", "TERM=dumb", str(bundle.program)]
    with Terminal(command, environment=device(home, LC_ALL="C"), cwd=home) as terminal:
        terminal.wait_for("is ready")
        terminal.press("Hello", "Enter")
        terminal.press("/stats", "Enter")
        terminal.wait_for("tokens")
        terminal.press("/quit", "Enter")
        terminal.wait_for("exit code 0")


@needs_root
def test_a_full_disk_is_told(bundle: Bundle, tmp_path: Path) -> None:
    """Where there is no room for the history: a sentence, the right exit code, and nothing broken."""
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=4k tmpfs "{small}" && head -c 4096 /dev/zero > "{small}/full"; exec "$@"'
    ended = start(
        ["unshare", "--mount", "sh", "-c", script, "sh", bundle.program, "--self-test"],
        device(tmp_path, EDGECHAT_HOME=str(small)),
    )
    assert ended.returncode == 5, ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["error"]["title"]
    assert "Traceback" not in ended.stderr
