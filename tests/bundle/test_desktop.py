"""A double click: no terminal is there, so one is opened, or the lack of one is told."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.bundles import Bundle, device, start

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system opens a terminal"),
]

needs_screen = pytest.mark.skipif(
    shutil.which("Xvfb") is None or shutil.which("xterm") is None, reason="no Xvfb and xterm; .ci/run installs them"
)


@pytest.fixture
def screen() -> Iterator[str]:
    """The name of a screen of this test's own."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", "-screen", "0", "1024x768x24"],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def chats(home: Path) -> list[psutil.Process]:
    """The chats of that home that have a terminal."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home) and process.terminal() and process.name() == "edgechat.bin":
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def wait_for_chat(home: Path) -> psutil.Process:
    end = time.monotonic() + 60
    while not (found := chats(home)):
        assert time.monotonic() < end, "no chat in a terminal"
        time.sleep(0.1)
    return found[0]


def wait_for_file(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.1)


@needs_screen
@pytest.mark.parametrize("form", ["folder", "single"])
def test_a_double_click_opens_a_terminal(bundle: Bundle, home: Path, screen: str, form: str) -> None:
    program = bundle.program if form == "folder" else bundle.single
    ended = start([program], device(home, DISPLAY=screen, LANG=""))
    assert ended.returncode == 0, ended.stderr
    chat = wait_for_chat(home)
    # A system without a language must not have a terminal without letters.
    assert chat.environ()["LC_ALL"] == "C.UTF-8"
    assert "xterm" in [parent.name() for parent in chat.parents()]
    assert "LD_LIBRARY_PATH" not in chat.parents()[0].environ()
    # The chat itself, not an error in a window: its history is open, and it ends as one does.
    wait_for_file(home / ".local" / "share" / "edgechat" / "history.db")
    chat.send_signal(signal.SIGHUP)
    assert chat.wait(timeout=30) in (128 + signal.SIGHUP, None, 0)


@needs_screen
def test_the_terminal_one_likes_comes_first(bundle: Bundle, home: Path, screen: str, tmp_path: Path) -> None:
    mine = tmp_path / "my terminal"
    mine.write_text('#!/bin/sh\nexec xterm -title mine "$@"\n')
    mine.chmod(0o755)
    ended = start([bundle.program], device(home, DISPLAY=screen, TERMINAL=f"'{mine}'"))
    assert ended.returncode == 0, ended.stderr
    chat = wait_for_chat(home)
    assert any("mine" in parent.cmdline() for parent in chat.parents())
    chat.terminate()
    chat.wait(timeout=30)


@pytest.mark.parametrize("form", ["folder", "single"])
def test_no_terminal_to_open_is_told(bundle: Bundle, home: Path, tmp_path: Path, form: str) -> None:
    """With only what the single file itself needs in PATH, and a dialog that keeps what it is told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "sh",
        "tail",
        "tar",
        "gzip",
        "sha256sum",
        "cut",
        "find",
        "wc",
        "readlink",
        "id",
        "mkdir",
        "rm",
        "mv",
        "uname",
    ):
        (tools / name).symlink_to(shutil.which(name) or "")
    for name in ("df", "ls", "chmod", "cat", "touch", "getconf", "head", "sync", "dirname", "basename", "sleep", "env"):
        (tools / name).symlink_to(shutil.which(name) or "")
    said = tmp_path / "said"
    (tools / "zenity").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{said}"\n')
    (tools / "zenity").chmod(0o755)
    program = bundle.program if form == "folder" else bundle.single
    ended = start([program], device(home, DISPLAY=":999", PATH=str(tools)))
    assert ended.returncode == 2
    assert "No terminal" in ended.stderr
    assert "xterm" in ended.stderr
    wait_for_file(said)
    assert "No terminal" in said.read_text()


def test_a_script_without_a_terminal_opens_none(bundle: Bundle, home: Path) -> None:
    ended = start([bundle.program], device(home))
    assert ended.returncode == 2
    assert "edgechat ask" in ended.stderr


@pytest.mark.skipif(
    shutil.which("desktop-file-validate") is None, reason="no desktop-file-utils; .ci/run installs them"
)
def test_the_desktop_entry_starts_what_lies_beside_it(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    entry = bundle.folder / "edgechat.desktop"
    checked = subprocess.run(["desktop-file-validate", entry], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    lines = dict(line.split("=", 1) for line in entry.read_text().splitlines() if "=" in line and line[0] != "#")
    assert lines["Terminal"] == "true"
    folder = tmp_path / "ein Stick"
    bundle.folder_copy(folder)
    # As the specification has it: the value's own escapes first, then those of its quotes; %k is the entry's place.
    words = [word.replace("\\$", "$") for word in shlex.split(lines["Exec"].replace("\\\\", "\\"))]
    command = [str(folder / "edgechat.desktop") if word == "%k" else word for word in words]
    ended = start(command, device(home))
    assert ended.returncode == 2
    assert "The chat needs a terminal" in ended.stderr
