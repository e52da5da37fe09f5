"""The system's clipboard: what was copied is looked at, and nothing that its tools do harms or holds up anybody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgechat.runtime import clipboard

TOOL = """#!/bin/sh
case "$*" in
*-o*) cat "{held}" ;;
*) {copying} ;;
esac
"""


@pytest.fixture
def xclip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool of that name is all there is; the test writes what it does."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "which", "uname", "sleep"):
        for folder in ("/bin", "/usr/bin"):
            if Path(folder, name).exists() and not (tools / name).exists():
                (tools / name).symlink_to(Path(folder, name))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return tools / "xclip"


def made(tool: Path, copying: str) -> Path:
    held = tool.parent / "held"
    tool.write_text(TOOL.format(held=held, copying=copying.format(held=held)))
    tool.chmod(0o755)
    return held


async def test_what_was_copied_is_read_back(xclip: Path) -> None:
    held = made(xclip, 'cat > "{held}"')
    assert await clipboard.copy("words\nשלום\n")
    assert held.read_text() == "words\nשלום\n"


@pytest.mark.parametrize("copying", ["exit 1", "cat > /dev/null; printf other > '{held}'", "cat >/dev/null"])
async def test_a_tool_that_fails_in_silence_is_found_out(xclip: Path, copying: str) -> None:
    made(xclip, copying)
    assert not await clipboard.copy("words")


async def test_nothing_is_written_to_the_terminal(xclip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made(xclip, "echo 'Error: cannot open display' >&2; exit 1")
    assert not await clipboard.copy("words")
    assert capfd.readouterr() == ("", "")


async def test_a_tool_that_hangs_is_not_waited_for(xclip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(xclip, "exec sleep 1000")
    monkeypatch.setattr(clipboard, "TIMEOUT", 1.0)
    assert not await clipboard.copy("words")


async def test_there_may_be_none(xclip: Path) -> None:
    assert not xclip.exists()
    assert "PATH" in os.environ
    assert not await clipboard.copy("words")
