"""The gate to the terminal lets through what is drawn, whole, and shows everything else."""

from __future__ import annotations

import pytest

from edgechat.tui.terminal.driver import LEAVE
from edgechat.tui.terminal.output_gate import passed

OWN = [
    "\x1b[1;38;2;1;2;3;48;5;7mwords\x1b[0m\n\x1b[12;40H",
    "\x1b[?2026h\x1b[?2026l\x1b[?2026$p\x1b[?2048$p",
    "\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[>25u\x1b[?1000h\x1b[?1003h\x1b[?1015h\x1b[?1006h\x1b[?2004h\x1b[?7l",
    "\x1b]22;pointer\x07",
    "\x07",
    "\x1b[8l",
    "שלום 日本 👩‍👩‍👧 e\u0301",
    LEAVE,
]


@pytest.mark.parametrize("data", OWN)
def test_what_the_interface_writes_passes(data: str) -> None:
    assert passed(data) == data


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("a\x1b]52;c;YQ==\x07b", "a␛]52;c;YQ==␇b"),
        ("\x1b]0;title\x1b\\", "␛]0;title␛\\"),
        ("\x1b[2J\x1b[?1h\x1b[6n\x1bc", "␛[2J␛[?1h␛[6n␛c"),
        ("\x1b[mx\x9b2J\x85", "\x1b[mx\ufffd2J\ufffd"),
        ("\x1b\x1b[m[2J", "␛\x1b[m[2J"),  # what is left does not join
        ("\x1b]8;;https://example.com\x1b\\x", "␛]8;;https://example.com␛\\x"),
        ("a\tb\rc\x07\u202e", "a b␍c␇\ufffd"),
    ],
)
def test_everything_else_is_shown(data: str, shown: str) -> None:
    assert passed(data) == shown
