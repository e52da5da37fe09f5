"""The single file: unpacked once, whole or not at all, wherever there is a place for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat import __version__
from tests.support.bundles import Bundle, device, needs_root, self_test, start
from tests.support.terminal import Terminal, needs_tmux

pytestmark = [pytest.mark.model, pytest.mark.skipif(sys.platform == "win32", reason="begins with a shell script")]

VERSION = f"edgechat {__version__}"


def unpacked(home: Path) -> list[Path]:
    """What lies in the cache; hidden names are of work that was not ended."""
    place = home / ".cache" / "edgechat" / "unpacked"
    return sorted(place.iterdir()) if place.exists() else []


def files_of(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def version(file: Path | str, environment: dict[str, str], **options: Path) -> str:
    ended = start([file, "--version"], environment, cwd=options.get("cwd"))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_it_unpacks_once_and_is_what_the_folder_is(bundle: Bundle, home: Path) -> None:
    told = self_test([bundle.single], device(home))
    [folder] = unpacked(home)
    assert told["model"]["folder"] == str(folder / "model" / "model")
    assert set(files_of(folder)) - {".whole"} == set(files_of(bundle.folder))
    assert folder.stat().st_mode & 0o077 == 0 or folder.parent.stat().st_mode & 0o077 == 0
    before = files_of(folder)
    assert version(bundle.single, device(home)).startswith(VERSION)
    assert files_of(folder) == before


def test_it_is_found_wherever_and_however_it_is_started(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    environment = device(home)
    stick = bundle.single_copy(tmp_path / "ein Stick ü א" / "edge chat")
    assert version(stick, environment).startswith(VERSION)
    assert version("./edge chat", environment, cwd=stick.parent).startswith(VERSION)
    link = tmp_path / "bin" / "edgechat"
    link.parent.mkdir()
    link.symlink_to(stick)
    assert version(link, environment).startswith(VERSION)
    by_name = ["sh", "-c", "edgechat --version"]
    assert start(by_name, {**environment, "PATH": f"{link.parent}:/usr/bin:/bin"}).stdout.startswith(VERSION)
    assert len(unpacked(home)) == 1


def test_two_first_starts_unpack_once(bundle: Bundle, home: Path) -> None:
    running = [
        subprocess.Popen([bundle.single, "--version"], env=device(home), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert out.startswith(VERSION)
    [folder] = unpacked(home)
    assert set(files_of(folder)) - {".whole"} == set(files_of(bundle.folder))


def wait_for(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_first_start_that_is_killed_leaves_nothing_in_the_way(bundle: Bundle, home: Path, number: int) -> None:
    process = subprocess.Popen(
        [bundle.single, "--version"], env=device(home), start_new_session=True, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: any(path.name.startswith(".half-") for path in unpacked(home)))
    os.killpg(process.pid, number)
    process.wait(timeout=30)
    if number != signal.SIGKILL:
        assert unpacked(home) == []
    assert version(bundle.single, device(home)).startswith(VERSION)
    [folder] = unpacked(home)
    assert folder.name.startswith("edgechat-")


def test_what_a_cleaner_nibbled_at_is_unpacked_anew(bundle: Bundle, home: Path) -> None:
    version(bundle.single, device(home))
    [folder] = unpacked(home)
    (folder / "_internal" / "base_library.zip").unlink()
    assert version(bundle.single, device(home)).startswith(VERSION)
    shutil.rmtree(home / ".cache")
    assert version(bundle.single, device(home)).startswith(VERSION)


@needs_tmux
def test_a_cache_that_is_wiped_under_a_running_chat_loses_nothing(bundle: Bundle, home: Path) -> None:
    settings = device(home, EDGECHAT_TEMPERATURE="0", EDGECHAT_MAX_TOKENS="40")
    with Terminal([str(bundle.single)], environment=settings, cwd=home) as terminal:
        terminal.wait_for("ready")
        terminal.press("What is the capital of France?", "Enter")
        terminal.wait_for("Paris")
        terminal.wait_for("tok/s")
        terminal.wait_for("ready")
        shutil.rmtree(home / ".cache")
        terminal.press("F1")
        terminal.wait_for("Show or close this help")
        terminal.press("F1")
        terminal.wait_for_the_end_of("Show or close this help")
        for key, words in (
            ("C-p", "Search for commands"),
            ("C-o", "Search all chats"),
            ("C-s", "Repetition penalty"),
            ("F10", "Path of a model folder"),
            ("F12", "edgechat.log"),
        ):
            terminal.press(key)
            terminal.wait_for(words)
            terminal.press("Escape")
            terminal.wait_for_the_end_of(words)
        terminal.press("Name a river.", "Enter")
        terminal.wait_for("Name a river.")
        terminal.wait_for("ready")
        terminal.press("C-q")
        screen = terminal.wait_for("exit code 0")
        assert "Traceback" not in screen
    with Terminal([str(bundle.single), "--continue"], environment=settings, cwd=home) as terminal:
        terminal.wait_for("Name a river.")
        terminal.wait_for("ready")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def damaged(bundle: Bundle, target: Path, change: Callable[[bytearray], None]) -> Path:
    data = bytearray(bundle.single.read_bytes())
    change(data)
    target.write_bytes(data)
    target.chmod(0o755)
    return target


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 1


def lengthen(data: bytearray) -> None:
    data.extend(b"x")


@pytest.mark.parametrize(("change", "words"), [(cut, "not whole"), (lengthen, "not whole"), (flip, "damaged")])
def test_a_file_that_did_not_arrive_whole(
    bundle: Bundle, home: Path, tmp_path: Path, change: Callable[[bytearray], None], words: str
) -> None:
    ended = start([damaged(bundle, tmp_path / "edgechat", change), "--version"], device(home))
    assert ended.returncode == 5
    assert words in ended.stderr
    assert "Copy it again" in ended.stderr
    assert unpacked(home) == []


def with_mount(options: str, folder: Path, *command: str | Path) -> list[str]:
    """The command with a tmpfs of its own on a folder."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2"; shift 2; exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", options, str(folder), *map(str, command)]


@needs_root
class TestDisks:
    """Disks that are full, read-only, or do not let programs start."""

    def test_a_disk_without_room_is_told_with_numbers(self, bundle: Bundle, home: Path) -> None:
        ended = start(
            with_mount("size=100m", home, bundle.single, "--version"), device(home, EDGECHAT_UNPACK=str(home / "x"))
        )
        assert ended.returncode == 5
        assert "Not enough space" in ended.stderr
        assert "MB free" in ended.stderr
        assert "EDGECHAT_UNPACK" in ended.stderr

    def test_a_disk_that_fills_up_meanwhile_leaves_nothing(self, bundle: Bundle, home: Path) -> None:
        # Another program takes the room between the look and the writing: here, one file that grows.
        place = home / "x"
        inside = place / f"edgechat-{os.getuid()}" / "cache" / "unpacked"
        script = (
            f'mount -t tmpfs -o size=280m tmpfs "{home}"; mkdir "{place}"; '
            f'(until ls -A "{inside}" 2>&1 | grep -q half-; do :; done; head -c 200m /dev/zero >"{home}/other") & '
            f'"$@"; code=$?; wait; ls -A "{inside}"; exit $code'
        )
        ended = start(
            ["unshare", "--mount", "sh", "-c", script, "sh", bundle.single, "--version"],
            device(home, EDGECHAT_UNPACK=str(place)),
        )
        assert ended.returncode == 5, ended.stdout + ended.stderr
        assert "Cannot unpack" in ended.stderr
        assert ended.stdout == ""

    def test_where_programs_cannot_start_the_next_place_is_taken(
        self, bundle: Bundle, home: Path, tmp_path: Path
    ) -> None:
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        environment = device(home, TMPDIR=str(temporary))
        ended = start(with_mount("noexec", home, bundle.single, "--version"), environment)
        assert ended.returncode == 0, ended.stderr
        own = temporary / f"edgechat-{os.getuid()}"
        assert own.stat().st_mode & 0o777 == 0o700
        [folder] = (own / "cache" / "unpacked").iterdir()
        assert (folder / "edgechat").is_file()

    def test_nowhere_to_unpack_is_told(self, bundle: Bundle, home: Path) -> None:
        ended = start(
            with_mount("noexec", home, bundle.single, "--version"), device(home, EDGECHAT_UNPACK=str(home / "x"))
        )
        assert ended.returncode == 5
        assert "no place to unpack" in ended.stderr
        assert str(home / "x") in ended.stderr
        assert "noexec" in ended.stderr

    def test_a_temporary_folder_that_is_not_ones_own_is_passed_over(
        self, bundle: Bundle, home: Path, tmp_path: Path
    ) -> None:
        temporary = tmp_path / "tmp"
        planted = temporary / f"edgechat-{os.getuid()}"
        planted.mkdir(parents=True)
        planted.chmod(0o777)
        last_resort = Path("/var/tmp")
        elsewhere = last_resort / planted.name / "cache" / "unpacked"
        # It is this test's own, too.
        script = f'mount -t tmpfs tmpfs {last_resort}; "$@" && ls "{elsewhere}"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh"]
        ended = start(
            [*command, *with_mount("noexec", home, bundle.single, "--version")], device(home, TMPDIR=str(temporary))
        )
        assert ended.returncode == 0, ended.stderr
        assert list(planted.iterdir()) == []
        assert "edgechat-" in ended.stdout.splitlines()[-1]


def test_another_machine_is_told(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    """The processor this file is for is a word in it; it is changed here, as if the file were on another machine."""

    def for_another(data: bytearray) -> None:
        here = os.uname().machine.encode()
        head = bytes(data[: 16 * 1024]).replace(here, b"sparc64".ljust(len(here), b"_")[: len(here)])
        data[: 16 * 1024] = head

    ended = start([damaged(bundle, tmp_path / "edgechat", for_another), "--version"], device(home))
    assert ended.returncode == 1
    assert "for another machine" in ended.stderr
    assert os.uname().machine in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of the GNU C library")
def test_folders_nobody_has_used_for_a_month_go(bundle: Bundle, home: Path) -> None:
    place = home / ".cache" / "edgechat" / "unpacked"
    place.mkdir(parents=True, mode=0o700)
    for name, days in (("edgechat-0.0.1-0123456789ab", 40), ("edgechat-0.0.2-0123456789ab", 3)):
        (place / name).mkdir()
        then = time.time() - days * 86400
        os.utime(place / name, (then, then))
    version(bundle.single, device(home))
    names = {path.name for path in unpacked(home)}
    assert "edgechat-0.0.2-0123456789ab" in names
    assert "edgechat-0.0.1-0123456789ab" not in names


def test_what_lies_in_the_folder_one_names_is_left_alone(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    """A stick with other things on it, old ones among them, whatever they are called."""
    stick = tmp_path / "stick"
    then = time.time() - 400 * 86400
    for name in ("edgechat-data", "edgechat-0.1.0", "edgechat-0.1.0-0123456789ab"):
        (stick / name / "data").mkdir(parents=True)
        (stick / name / "data" / "history.db").write_text("chats")
        os.utime(stick / name, (then, then))
    assert version(bundle.single, device(home, EDGECHAT_UNPACK=str(stick))).startswith(VERSION)
    assert len(list(stick.rglob("history.db"))) == 3
    assert (stick / f"edgechat-{os.getuid()}" / "cache" / "unpacked").is_dir()


def test_a_program_emptied_by_a_power_cut_is_unpacked_anew(bundle: Bundle, home: Path) -> None:
    version(bundle.single, device(home))
    [folder] = unpacked(home)
    (folder / "edgechat.bin").write_bytes(b"")
    assert version(bundle.single, device(home)).startswith(VERSION)
    [folder] = unpacked(home)
    (folder / "_internal" / "base_library.zip").write_bytes(b"")
    assert version(bundle.single, device(home)).startswith(VERSION)


@needs_root
def test_what_another_user_has_put_in_a_shared_folder_is_never_started(
    bundle: Bundle, home: Path, tmp_path: Path
) -> None:
    version(bundle.single, device(home))
    [mine] = unpacked(home)
    shared = tmp_path / "shared"
    place = shared / f"edgechat-{os.getuid()}" / "cache" / "unpacked"
    shutil.copytree(mine, place / mine.name)
    (place / mine.name / "edgechat").write_bytes(
        b"#!/bin/sh\necho planted\n".ljust((mine / "edgechat").stat().st_size, b"\n")
    )
    for path in (shared / f"edgechat-{os.getuid()}", *(shared / f"edgechat-{os.getuid()}").rglob("*")):
        os.chown(path, 65534, 65534)
    ended = start([bundle.single, "--version"], device(home, EDGECHAT_UNPACK=str(shared)))
    assert "planted" not in ended.stdout
    assert ended.returncode == 5
    assert "no place to unpack" in ended.stderr


def test_starts_that_know_nothing_of_each_other_do_not_harm_each_other(bundle: Bundle, home: Path) -> None:
    """As on a home that several machines share: locks of others are there, and nobody can say whose they are."""
    place = home / ".cache" / "edgechat" / "unpacked"
    place.mkdir(parents=True, mode=0o700)
    name = f"edgechat-{__version__}-" + digest_prefix(bundle)
    (place / f".lock-{name}").mkdir()
    other = place / f".half-{name}-elsewhere.1-4711"
    other.mkdir()
    assert version(bundle.single, device(home)).startswith(VERSION)
    assert other.is_dir()
    assert (place / name / ".whole").is_file()


def digest_prefix(bundle: Bundle) -> str:
    """The twelve letters of the payload's digest that are in the name of what it is unpacked to."""
    head = bundle.single.read_bytes()[: 16 * 1024].decode()
    found = re.search(r"sha256=([0-9a-f]{12})", head)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["~", "-x", "a b"])
def test_folders_written_in_any_way(bundle: Bundle, home: Path, tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert version(bundle.single, device(home, EDGECHAT_UNPACK=name), cwd=work).startswith(VERSION)
    assert {path.name for path in work.iterdir()} == (set() if name == "~" else {name})
    refused = start([bundle.single, "--version"], device(home, EDGECHAT_UNPACK="~nobody/x"), cwd=work)
    assert refused.returncode == 2
    assert "~nobody/x" in refused.stderr
