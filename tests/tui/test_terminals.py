"""What is really written to a terminal that can do little: no sign, no colour, no movement that it was not to get."""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from textual.widgets import OptionList

from edgechat.engine.scripted import ScriptedEngine
from edgechat.runtime.paths import own_command
from edgechat.settings.loader import Settings
from edgechat.settings.schema import Config
from edgechat.tui.themes import CONTRAST, DARK, LIGHT, MONO
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, screen_text, until

posix = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")

SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def written(home: Path, keys: tuple[tuple[str, bytes], ...] = (), **environment: str) -> bytes:
    """All that the demo writes until its model is ready, and after each key until those words have come."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "LC_ALL")}
    process = subprocess.Popen(
        own_command("--demo"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "EDGECHAT_HOME": str(home), **environment},
        start_new_session=True,
    )
    os.close(theirs)
    out = bytearray()

    def read_until(words: str) -> None:
        end = time.monotonic() + 60
        # A terminal gets only what changed; words that are drawn at once come in one piece.
        while words.encode() not in SGR.sub(b"", bytes(out)):
            assert time.monotonic() < end, f"{words!r} did not come: {bytes(out)!r}"
            if select.select([ours], [], [], 0.1)[0]:
                out.extend(os.read(ours, 65536))

    try:
        read_until("ready")
        for words, key in keys:
            os.write(ours, key)
            read_until(words)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return bytes(out)


def colours(data: bytes) -> set[int]:
    """The numbers of all colour codes; 38 and 48 begin those of more than 16 colours."""
    numbers = {int(number or 0) for codes in SGR.findall(data) for number in codes.split(b";")[:1]}
    for codes in SGR.findall(data):
        numbers |= {int(number or 0) for number in codes.split(b";")}
    return {number for number in numbers if 30 <= number <= 49 or 90 <= number <= 107}


def drawn(data: bytes) -> str:
    return re.sub(rb"\x1b(\[[0-9;?<>=]*[ -/]*[a-zA-Z@`{|}~]|[P\]_][^\x07\x1b]*(\x07|\x1b\\)|.)", b"", data).decode()


@posix
def test_the_linux_console_gets_its_own_signs_and_sixteen_colours(tmp_path: Path) -> None:
    data = written(tmp_path, (("Everywhere", b"\x1bOP"),), TERM="linux")
    assert not colours(data) & {38, 48}
    assert colours(data)
    drawn(data).encode("cp437")


@posix
def test_a_terminal_without_utf_8_gets_ascii(tmp_path: Path) -> None:
    data = written(tmp_path, TERM="xterm", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert drawn(data).isascii()
    assert "edgechat" in drawn(data)


@posix
def test_no_color_writes_no_colour_and_what_is_chosen_can_still_be_seen(tmp_path: Path) -> None:
    data = written(tmp_path, (("Sampling", b"\x13"),), TERM="xterm-256color", NO_COLOR="1")
    assert colours(data) == set()
    assert b"\x1b[7m" in data, "the cursor, and the setting that has the focus"
    assert b"\x1b[1m" in data


@posix
def test_more_colours_are_used_where_there_are_more(tmp_path: Path) -> None:
    assert 38 in colours(written(tmp_path, TERM="xterm-256color"))


async def test_the_theme_is_a_setting(make_app: MakeApp) -> None:
    for asked, shown in ((None, DARK.name), (LIGHT.name, LIGHT.name), (CONTRAST.name, CONTRAST.name), ("nord", "nord")):
        app = make_app(settings=Settings(Config(theme=asked)))
        async with app.run_test() as pilot:
            await ready(pilot)
            assert app.theme == shown
            assert app.current_theme.name == shown


async def test_the_terminals_background_is_followed(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORFGBG", "0;15")
    assert make_app().theme == LIGHT.name
    assert make_app(settings=Settings(Config(theme=DARK.name))).theme == DARK.name


async def test_a_theme_that_is_not_there_is_told_and_another_one_shown(make_app: MakeApp) -> None:
    app = make_app(settings=Settings(Config(theme="pink")))
    async with app.run_test() as pilot:
        await until(pilot, lambda: any("no theme pink" in notice.message for notice in app._notifications))
        assert app.theme == DARK.name


async def test_no_color_goes_before_the_theme(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert make_app(settings=Settings(Config(theme=LIGHT.name))).theme == MONO.name
    monkeypatch.setenv("NO_COLOR", "")
    assert make_app().theme == DARK.name


async def test_a_theme_that_is_chosen_is_kept(make_app: MakeApp) -> None:
    from edgechat.settings.loader import load_config

    async with make_app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app_of(pilot).screen is not app_of(pilot).chat)
        await pilot.press(*"light colours")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.theme == LIGHT.name and load_config().theme == LIGHT.name)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Sampling" in screen_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: app_of(pilot).screen is app_of(pilot).chat)
        assert pilot.app.theme == LIGHT.name


async def test_with_reduced_motion_nothing_moves_by_itself(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one"]), settings=Settings(Config(reduced_motion=True)))
    async with app.run_test() as pilot:
        await ready(pilot)
        assert app.animation_level == "none"
        assert not app.chat.composer.cursor_blink
        await say(pilot, "Hello")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Sampling" in screen_text(pilot))
        await pilot.press("down")
        await until(pilot, lambda: not getattr(app.screen.focused, "cursor_blink", True))


def test_the_look_is_chosen_without_importing_what_chooses_keys_and_writes_settings() -> None:
    """A start pays for neither."""
    script = (
        "import sys; from edgechat.cli import chat; import edgechat.tui.app; "
        "print([name for name in ('tomlkit', 'edgechat.tui.keys', 'edgechat.settings.personas', "
        "'edgechat.settings.writer', "
        "'edgechat.tui.dialogs.settings', 'edgechat.tui.dialogs.help') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


async def test_a_list_without_room_has_no_pages(make_app: MakeApp) -> None:
    """Paging through the commands in a window that shows none of them changes nothing."""
    async with make_app(ScriptedEngine()).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p")
        options = pilot.app.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count > 5)
        await pilot.resize_terminal(3, 1)
        options.styles.display = "none"
        await pilot.pause()
        await pilot.press("pagedown", "pageup")
        assert pilot.app.is_running
