"""Bytes that a terminal, a line or a paste may deliver: nonsense, and what looks like sense until it goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

PASTE_BEGINS, PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"

WORDS = ("hello ", "grün ", "שלום ", "日本語 ", "😀", "a\u0301", "\u3000", "x", "/", "/help", "`", "**b** ")
_NUMBERS = (0, 1, 2, 5, 9, 13, 27, 65, 200, 255, 57414, 65536, 0xD800, 0x110000, 10**9, 10**30)
_FINALS = b"@ABCDEFGHIJKLMPQRSTXZ`abcdfghilmnqrstuxyz{|}~$^"
_MOVES = (
    b"\x1b[A", b"\x1b[B", b"\x1bOC", b"\x1b[D", b"\x1bOD", b"\x1b[H", b"\x1b[F", b"\x1b[3~", b"\x7f", b"\t",
    b"\x1b[Z", b"\x1b[5~", b"\x1b[6~", b"\x1b[1;2D", b"\x1b[1;5C", b"\x1b[1;3A", b"\x1b[13;2u", b"\x1b\r", b"\n",
)  # fmt: skip
_ANSWERS = (
    b"\x1b[?62;1c", b"\x1b[>1;10;0c", b"\x1b[0n", b"\x1b[9;9R", b"\x1b[?2026;2$y", b"\x1b[?2048;1$y", b"\x1b[?1u",
    b"\x1b[I", b"\x1b[O", PASTE_ENDS, b"\x1b[48;24;90;480;900t", b"\x1b[48;0;0;0;0t", b"\x1b[48;99999;9;1;1t",
    b"\x1b]11;rgb:0000/0000/0000\x07", b"\x1bP>|XTerm(370)\x1b\\",
)  # fmt: skip
_BEGUN = (
    b"\x1b",
    b"\x1b\x1b",
    b"\x1b[",
    b"\x1bO",
    b"\x1b[1;",
    b"\x1b[<0;1",
    b"\x1b[M",
    b"\x1b[[",
    b"\xe2\x82",
    b"\xf0",
)
_SIGNS = "\ud7ff\ue000\ufffe\U0010ffff\u202e\u2066\x85\x9b\u2028\ufeff\u200d\U000e0041"
_IN_PASTES = (
    *WORDS,
    "\r",
    "\n/quit\n",
    "\r\r\r",
    "\x1b[31m",
    "\x1b[A",
    "\x1b",
    "\x03",
    "\x11",
    "\x1b[201",
    "\x1b[200~",
    "\x1b]52;c;YQ==\x07",
    "\x1bP1$r",
    "\x1b[13u",
    "\x9b2J",
    "\x85",
    "file://[x",
    "/tmp/\x00",
    "~no/x",
    "\t",
    "\x1b[<0;5;5M",
    "\x1b\r",
    "long " * 300,
)


def _cut(dice: random.Random, data: bytes, most: int = 4) -> list[bytes]:
    """Pieces of it, cut anywhere."""
    places = sorted(dice.sample(range(1, len(data)), min(dice.randrange(most), len(data) - 1)))
    return [data[first:last] for first, last in pairwise([0, *places, len(data)])]


def _any(dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(1, 40))


def _no_utf8(dice: random.Random) -> bytes:
    return bytes(dice.randrange(0x80, 0x100) for _ in range(dice.choice((1, 1, 2, 9))))


def _c1(dice: random.Random) -> bytes:
    """An 8-bit control, and what would belong to it."""
    return bytes([dice.choice((0x8F, 0x90, 0x9B, 0x9D, 0x9F))]) + dice.choice((b"200~", b"2J", b"0;/quit\x9c", b"A"))


def _control(dice: random.Random) -> bytes:
    numbers = b";".join(b"%d" % dice.choice(_NUMBERS) for _ in range(dice.randrange(6)))
    begin = b"\x1b[" + dice.choice((b"", b"", b"<", b"?", b">", b"=", b"-"))
    return begin + numbers + dice.choice((b"", b"", b"$", b" ", b"'")) + dice.choice(_FINALS).to_bytes()


def _huge(dice: random.Random) -> bytes:
    """A sequence that is longer than any."""
    size = dice.choice((100, 511, 513, 5000, 70000))
    return (
        b"\x1b[" + dice.choice((b"1;", b"9", b":", b"0;0;")) * (size // 2) + dice.choice((b"m", b"u", b"~", b"M", b""))
    )


def _mouse(dice: random.Random) -> bytes:
    x, y = (dice.choice((-1, 0, 1, 5, 40, 89, 91, 200, 99999, 10**12)) for _ in range(2))
    if dice.random() < 0.2:
        return b"\x1b[M" + dice.randbytes(3)
    button = dice.choice((0, 0, 1, 2, 3, 32, 35, 64, 65, 66, 128, 255, 9999))
    return b"\x1b[<%d;%d;%d" % (button, x, y) + dice.choice(b"Mm").to_bytes()


def _answer(dice: random.Random) -> bytes:
    """An answer with text in it, ended, cut short or endless."""
    begin = dice.choice((b"\x1b]0;", b"\x1b]l", b"\x1b]52;c;", b"\x1bP1$r", b"\x1bP>|", b"\x1b_G", b"\x1bX", b"\x1b^"))
    text = dice.choice((b"/quit title", b"title\r", b"gr\xfcn\xff\xe9", b"a" * 3000))
    return begin + text + dice.choice((b"\x07", b"\x1b\\", b"\x9c", b"", b"\x18", b"\x1b[A"))


def _word(dice: random.Random) -> bytes:
    text = dice.choice(WORDS)
    return text.encode("latin-1", "ignore") if dice.random() < 0.1 else text.encode()


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _any,
    _no_utf8,
    _c1,
    _control,
    _control,
    _huge,
    _mouse,
    _mouse,
    _answer,
    lambda dice: dice.choice(_ANSWERS),
    lambda dice: dice.choice(_MOVES),
    lambda dice: dice.choice(_MOVES),
    lambda dice: dice.choice(_BEGUN),
    lambda dice: dice.choice(_SIGNS).encode("utf-8", "surrogatepass"),
    lambda dice: dice.choice((b"\r", b"\x1b[13u", b"\x1bOM", b"\x1b[57414u")),
    lambda dice: PASTE_BEGINS + dice.choice(_IN_PASTES).encode() + dice.choice((PASTE_ENDS, PASTE_ENDS, b"")),
    _word,
    _word,
    _word,
)


LONG = 10_000
"""Bytes of what always comes whole: after a stall, the rest of it is as many letters, and each takes its turn."""


def noise(dice: random.Random) -> list[bytes]:
    """Chunks that mean nothing, or not what they seem to: one thing, whole or in pieces."""
    data = dice.choice(_KINDS)(dice)
    return _cut(dice, data) if 1 < len(data) < LONG and dice.random() < 0.25 else [data]


def paste(dice: random.Random) -> tuple[list[bytes], str | None]:
    """A paste from mark to mark in pieces, and its text; None for the text where not all of it is UTF-8."""
    text = "p" + "".join(dice.choice(_IN_PASTES) for _ in range(dice.randrange(9)))
    text = text.replace(PASTE_ENDS.decode(), "")  # two pieces may make one; a terminal leaves it out of what is pasted
    data = text.encode()
    if dice.random() < 0.3:
        data += dice.choice((b"\xe9", b"\xff\r", b"\x9b31m", b"\xe2\x82")) + b"end"
        return _cut(dice, PASTE_BEGINS + data + PASTE_ENDS, 6), None
    return _cut(dice, PASTE_BEGINS + data + PASTE_ENDS, 6), text
