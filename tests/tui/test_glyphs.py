"""What is drawn where a terminal lacks most signs: nothing broken, nothing wider, nothing missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

import edgechat.tui
from edgechat.tui import glyphs


@pytest.mark.parametrize(
    ("environment", "encoding", "level"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", "unicode"),
        ({}, "UTF-8", "unicode"),
        ({"TERM": "linux"}, "utf8", "cp437"),
        ({"TERM": "linux"}, "iso-8859-1", "ascii"),
        ({"TERM": "xterm"}, "ANSI_X3.4-1968", "ascii"),
        ({"TERM": "vt100"}, "utf-8", "ascii"),
        ({"TERM": "linux", "EDGECHAT_GLYPHS": "unicode"}, "utf-8", "unicode"),
        ({"TERM": "xterm", "EDGECHAT_GLYPHS": "nonsense"}, "utf-8", "unicode"),
    ],
)
def test_the_terminal_says_what_it_can_draw(environment: dict[str, str], encoding: str, level: str) -> None:
    assert glyphs.level(environment, encoding) == level


def test_every_sign_has_a_form_for_every_terminal() -> None:
    for plain, console, letter in glyphs.FORMS:
        assert cell_len(plain) == len(plain) == len(console) == len(letter), plain
        console.encode("cp437")
        assert letter.isascii(), plain


BORDERS = "╭─╮│╰╯┏━┓┃┗┛▛▀▜▌▐▙▄▟▊▎▔▁▂▃▄▅▆▇█░▒▓╸╺●○◉✓✕▶▼▲◀•…“”‘’–—×"


@pytest.mark.parametrize("level", ["cp437", "ascii"])
def test_what_others_draw_is_simplified_cell_by_cell(level: glyphs.Level) -> None:
    text = glyphs.simplified(BORDERS, level)
    assert len(text) == len(BORDERS)
    assert "?" not in text
    if level == "ascii":
        assert text.isascii()
    else:
        text.encode("cp437")


@pytest.mark.parametrize("level", ["cp437", "ascii"])
@pytest.mark.parametrize("text", ["שלום", "日本語", "é", "🔎", "x\u0301", "\u200d", "plain"])
def test_text_of_any_script_keeps_its_width(level: glyphs.Level, text: str) -> None:
    assert cell_len(glyphs.simplified(text, level)) == cell_len(text)


def test_every_sign_in_the_source_has_a_form_for_every_terminal() -> None:
    """What is not in the table passes the filter; a question mark on somebody's terminal would be all that is left."""
    broken = set()
    for path in sorted(Path(edgechat.tui.__file__).parent.rglob("*.py")):
        # The table itself, and what is read from a terminal and never drawn.
        if path.name in ("glyphs.py", "input_decoder.py", "key_parser.py"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            code = line.partition("  #")[0]
            escaped = (chr(int(number, 16)) for number in re.findall(r"\\u([0-9a-f]{4})", code))
            for sign in {character for character in code if not character.isascii()} | set(escaped):
                if "?" in glyphs.simplified(sign, "ascii") + glyphs.simplified(sign, "cp437"):
                    broken.add((path.name, sign))
    assert not broken
