"""Whether a start came from a file manager, and which terminal is asked."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from edgechat.cli.desktop import open_in_terminal, started_from_desktop
from edgechat.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A desktop without any terminal; the folder of programs."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.StringIO())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":99")
    for name in ("EDGECHAT_IN_TERMINAL", "WAYLAND_DISPLAY", "TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_file_manager_has_no_terminal_and_a_screen(desktop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_from_desktop()
    monkeypatch.delenv("DISPLAY")
    assert not started_from_desktop()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert started_from_desktop()


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_whoever_can_see_a_message_gets_one(desktop: Path, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(sys, stream, Terminal())
    assert not started_from_desktop()


def test_the_terminal_that_was_opened_opens_no_other(desktop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_IN_TERMINAL", "1")
    assert not started_from_desktop()


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
def test_terminals_are_tried_until_one_starts(desktop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    program(desktop, "konsole", "exit 1")
    program(desktop, "kitty", f'printf "%s\\n" "$@" >"{said}"')
    monkeypatch.setenv("EDGECHAT_SYSTEM", "Be brief; $HOME")
    monkeypatch.setattr(sys, "argv", ["edgechat", "--no-history", "--model-uri", "my model"])
    open_in_terminal()
    words = said.read_text().splitlines()
    assert words[0] == "env"
    assert "EDGECHAT_SYSTEM=Be brief; $HOME" in words
    assert "EDGECHAT_IN_TERMINAL=1" in words
    assert words[-4:] == ["edgechat", "--no-history", "--model-uri", "my model"]


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
def test_without_any_terminal_a_dialog_tells(desktop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No terminal") as caught:
        open_in_terminal()
    assert "xterm" in caught.value.hint


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
@pytest.mark.parametrize(("wanted", "between"), [("gnome-terminal", "--"), ("mine --big", "-e"), ("mine 'open", None)])
def test_the_terminal_one_names_is_called_as_it_wants(
    desktop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, between: str | None
) -> None:
    said = tmp_path / "said"
    for name in ("gnome-terminal", "mine", "xterm"):
        program(desktop, name, f'printf "%s\\n" "$0" "$@" >"{said}"')
    monkeypatch.setenv("TERMINAL", wanted)
    open_in_terminal()
    words = said.read_text().splitlines()
    assert Path(words[0]).name == (wanted.split(maxsplit=1)[0] if between else "gnome-terminal")
    assert words[words.index("env") - 1] == (between or "--")
