"""Every sign beyond ASCII that the interface draws, with what stands for it where a terminal cannot show it.

A sign is chosen once, when this is imported: the environment says what the terminal can do, and does not change. Where
a sign is needed, write `glyphs.MARK`, never the character. What other people's code draws (borders, scroll bars) and
what a model writes pass through `simplified`, so that nothing on the screen is a broken box. Nothing but the standard
library is imported here, for `--plain` and the start of the chat use it.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

Level = Literal["unicode", "cp437", "ascii"]
"""What a terminal can draw: anything; the 256 signs of the PC's font, as the Linux console does; nothing but ASCII."""


def level(environment: Mapping[str, str], encoding: str | None) -> Level:
    """What the terminal can draw.

    Args:
        environment: TERM is asked, and EDGECHAT_GLYPHS, which may name a level outright.
        encoding: How what is written to the terminal is encoded.
    """
    match environment.get("EDGECHAT_GLYPHS", "").lower():
        case "unicode" | "cp437" | "ascii" as asked:
            return asked
    if (encoding or "").lower().replace("-", "").replace("_", "") != "utf8":
        return "ascii"
    term = environment.get("TERM", "")
    if term == "linux":
        return "cp437"
    return "ascii" if term in ("dumb", "vt100", "vt102", "vt220") else "unicode"


_stream = sys.__stderr__ if sys.__stderr__ is not None else sys.__stdout__  # Textual writes to the first
_ENCODING = _stream.encoding if _stream is not None else "utf-8"

LEVEL: Level = level(os.environ, _ENCODING)
"""What this process's terminal can draw."""

FORMS: list[tuple[str, str, str]] = []
"""Every sign as it is drawn at each level, for tests."""


def _sign(plain: str, console: str, letter: str) -> str:
    """The form of a sign that this process's terminal can draw; all forms are of the same width."""
    FORMS.append((plain, console, letter))
    return {"unicode": plain, "cp437": console, "ascii": letter}[LEVEL]


MARK = _sign("\u259e", "\u2590", "#")
"""Edgechat's own, before its name."""
QUOTE = _sign("\u258e", "\u2502", "|")
"""The edge of a quotation."""
RULE = _sign("\u2500", "\u2500", "-")
"""A horizontal line, by the cell."""
COLUMN = _sign("\u2502", "\u2502", "|")
"""The line between two columns."""
CROSS = _sign("\u253c", "\u253c", "+")
"""Where such a line meets a rule."""
BULLETS = _sign("\u2022\u25e6\u2023", "\u00b7-+", "*-+")
"""Of lists, by their depth."""
DONE = _sign("\u25cf", "\u25a0", "*")
"""Full: ready, or at work."""
WAITING = _sign("\u25cb", "\u00b7", "o")
"""Hollow: not there yet."""
STOPPED = _sign("\u25a0", "\u25a0", "#")
FAILED = _sign("\u00d7", "x", "x")
METER = _sign("\u2501", "\u2588", "#")
"""What is full of a bar, by the cell."""
METER_REST = _sign("\u2500", "\u2591", "-")
"""What is left of it; told apart without colour too."""
ABOUT = _sign("\u2248", "\u2248", "~")
"""Before a number that is a guess."""
ELLIPSIS = _sign("\u2026", "~", "~")
"""Something was left out."""
DOT = _sign("\u00b7", "\u00b7", "-")
"""Between two short facts."""
PREVIOUS = _sign("\u2039", "\u00ab", "<")
NEXT = _sign("\u203a", "\u00bb", ">")
"""With PREVIOUS around which of several versions is shown."""
UP = _sign("\u2191", "^", "^")
DOWN = _sign("\u2193", "v", "v")
RIGHT = _sign("\u2192", "\u00bb", ">")
POINTER = _sign("\u203a", "\u00bb", ">")
"""Before what is chosen."""
CHECK = _sign("\u2713", "\u221a", "x")
"""Something is right, or on."""
PIN = _sign("\u2605", "*", "*")
"""Before what is pinned."""
LIKED = _sign("+", "+", "+")
DISLIKED = _sign("\u2212", "-", "-")
NOTE = _sign("\u270e", "&", "&")
"""A note is there."""
LOCK = _sign("#", "#", "#")
"""The device's owner decides."""

# What the console's font shows beside ASCII; what is not in it is a box, or nothing.
_CP437 = frozenset(bytes(range(128, 256)).decode("cp437"))

_NEAREST = {
    **dict.fromkeys("\u256d\u250f\u2552", "\u250c"),
    **dict.fromkeys("\u256e\u2513", "\u2510"),
    **dict.fromkeys("\u2570\u2517", "\u2514"),
    **dict.fromkeys("\u256f\u251b", "\u2518"),
    **dict.fromkeys("\u2501\u2504\u2505\u2508\u254c\u2574\u2576\u2578\u257a\u257c\u257e\u2594\u2581\u23bd", "\u2500"),
    **dict.fromkeys("\u2503\u2506\u2507\u250a\u254e\u2575\u2577\u2579\u257b\u258f\u258e\u258d\u2595", "\u2502"),
    **dict.fromkeys("\u2599\u259b\u2589\u258a\u258b", "\u258c"),
    **dict.fromkeys("\u259c\u259f\u259e\u259a", "\u2590"),
    **dict.fromkeys("\u2582\u2583\u2585\u2597\u2596", "\u2584"),
    **dict.fromkeys("\u2586\u2587", "\u2588"),
    **dict.fromkeys("\u2598\u259d", "\u2580"),
    **dict.fromkeys("\u25cf\u2b24\u25c9\u25fc\u25a3", "\u25a0"),
    **dict.fromkeys("\u25e6\u2027\u2219", "\u00b7"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u2033", '"'),
    **dict.fromkeys("\u2026", "~"),
    **dict.fromkeys("\u2713\u2714", "\u221a"),
    **dict.fromkeys("\u2717\u2718\u2715\u2716\u00d7", "x"),
    **dict.fromkeys("\u25b6\u25b8\u276f\u203a\u23f5", ">"),
    **dict.fromkeys("\u25c0\u25c2\u2039\u23f4", "<"),
    **dict.fromkeys("\u25bc\u25be\u23f7", "v"),
    **dict.fromkeys("\u25b2\u25b4\u23f6", "^"),
    **dict.fromkeys("\u2605\u2606\u2217\u22c6", "*"),
    "\u2022": "*",
    "\u25cb": "o",
    "\u23bf": "\u2514",
    "\u00a0": " ",
}
"""The sign of the console's font that is nearest to another one of the same width."""

_LETTERS = {
    **dict.fromkeys("\u2502\u258c\u2590", "|"),
    **dict.fromkeys("\u2500\u2550\u2580\u2584", "-"),
    **dict.fromkeys("\u250c\u2510\u2514\u2518\u251c\u2524\u252c\u2534\u253c", "+"),
    **dict.fromkeys("\u2588\u2591\u2592\u2593\u25a0", "#"),
    **dict.fromkeys("\u2190\u00ab", "<"),
    **dict.fromkeys("\u2192\u00bb", ">"),
    **dict.fromkeys("\u2022\u221a", "*"),
    "\u00b7": "-",
    "\u2191": "^",
    "\u2193": "v",
}
"""The letter nearest to a sign of the console's font."""


@lru_cache(4096)
def simplified(text: str, terminal: Level) -> str:
    """A text with nothing in it that the terminal cannot draw, and of the same width.

    Letters stay if they can be written in the terminal's encoding, for its font may have them.
    """
    if terminal == "unicode" or text.isascii():
        return text
    out = []
    for character in text:
        sign = character if character in _CP437 else _NEAREST.get(character, character)
        if terminal == "ascii":
            sign = _LETTERS.get(sign, sign)
        drawn = sign.isascii() or (_writable(sign) if sign.isalpha() else terminal == "cp437" and sign in _CP437)
        out.append(sign if drawn else "?" * cells(sign))
    return "".join(out)


def _writable(letter: str) -> bool:
    try:
        letter.encode(_ENCODING)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def cells(character: str) -> int:
    """Columns that a character takes."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
