"""The Unicode bidirectional algorithm (UAX #9) for one paragraph: text direction and visual order.

Text is stored, sent and copied in logical order. Most terminals draw everything from left to right, so Hebrew and
Arabic have to be put in visual order, line by line, after wrapping. The algorithm's explicit controls never occur here,
because `sanitize.printable` removes them; that, and the need to know where each sign went, is why no library is used.
The tests compare the result with one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal
from unicodedata import bidirectional, category

Base = Literal["L", "R"]

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
_PAIRS = "()[]{}\u2045\u2046\u2329\u232a\u2768\u2769\u27e8\u27e9\u3008\u3009\u300a\u300b"
_PAIRS += "\u300c\u300d\u300e\u300f\u3010\u3011\u3014\u3015\uff08\uff09"
_CLOSING = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))
_OPENING = {closing: opening for opening, closing in _CLOSING.items()}
_MIRRORED = {**_CLOSING, **_OPENING}
for _one, _other in ("<>", "\u00ab\u00bb", "\u2039\u203a", "\u2264\u2265"):
    _MIRRORED[_one], _MIRRORED[_other] = _other, _one

_ZERO_WIDTH_JOINER = "\u200d"
_EXPLICIT = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Controls that would reorder their surroundings; they are always ignored."""
_NEUTRAL = {"B", "S", "WS", "ON"}
_STRONG = {"L": "L", "R": "R", "EN": "R", "AN": "R"}
"""Which kinds are strong, and as what, when resolving neutral signs and brackets."""


def runs_both_ways(text: str) -> bool:
    """Whether any of it is written from right to left."""
    return not text.isascii() and _RIGHT_TO_LEFT.search(text) is not None


def base_of(text: str, otherwise: Base = "L") -> Base:
    """Return a paragraph's direction: that of its first letter, by rules P2 and P3."""
    for sign in text:
        kind = bidirectional(sign)
        if kind == "L":
            return "L"
        if kind in ("R", "AL"):
            return "R"
    return otherwise


def direction_of(paragraph: str) -> Base | None:
    """Return a paragraph's direction; None if nothing in it runs from right to left, so there is nothing to do."""
    return base_of(paragraph) if runs_both_ways(paragraph) else None


def mirrored(sign: str) -> str:
    """Return how a sign looks in right-to-left text: brackets are mirrored."""
    return _MIRRORED.get(sign, sign)


@lru_cache(2048)
def visual_order(text: str, base: Base) -> tuple[tuple[int, int, bool], ...]:
    """Return the signs of a line in visual order, from left to right.

    Args:
        text: The line.
        base: The direction of its paragraph.

    Returns:
        For each sign (letters with their marks and joined emoji are one): its start and end in the text, and whether it
        is part of right-to-left text.
    """
    levels = levels_of(text, base)
    signs = [(start, end, levels[start]) for start, end in signs_of(text)]
    # L2: from the highest level down, reverse each run at that level or above.
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(signs):
            end = start
            while end < len(signs) and signs[end][2] >= level:
                end += 1
            signs[start:end] = signs[start:end][::-1]
            start = end + 1
    return tuple((start, end, bool(level % 2)) for start, end, level in signs)


def visual(text: str, base: Base | None = None) -> str:
    """Return a line in visual order; `base` defaults to the line's own direction."""
    order = visual_order(text, base or base_of(text))
    return "".join(
        mirrored(text[start]) + text[start + 1 : end] if turned else text[start:end] for start, end, turned in order
    )


def levels_of(text: str, base: Base) -> list[int]:
    """Return the level of each character: odd levels run from right to left."""
    first = 1 if base == "R" else 0
    original = [_kind(sign) for sign in text]
    places = [place for place, kind in enumerate(original) if kind != "BN"]  # X9: ignore these
    kinds = [original[place] for place in places]
    _resolve_weak(kinds, base)
    _resolve_brackets(kinds, [text[place] for place in places], [original[place] for place in places], base)
    _resolve_neutral(kinds, base)
    levels = [first] * len(text)
    for place, kind in zip(places, kinds, strict=True):
        if kind == "R":  # I1 and I2
            levels[place] = 1
        elif kind == "L":
            levels[place] = 2 * first
        else:
            levels[place] = 2
    for place, kind in enumerate(original):
        if kind == "BN" and place:
            levels[place] = levels[place - 1]
    # L1: white space at the end, and before a tab, takes the paragraph's level.
    trailing = True
    for place in range(len(text) - 1, -1, -1):
        kind = original[place]
        if kind in ("S", "B"):
            trailing = True
        elif kind not in ("WS", "BN"):
            trailing = False
        if trailing:
            levels[place] = first
    return levels


def _kind(sign: str) -> str:
    kind = bidirectional(sign) or "L"
    return "BN" if kind in _EXPLICIT else kind


def _resolve_weak(kinds: list[str], base: Base) -> None:
    """Apply rules W1 to W7 in place."""
    before: str = base
    strong: str = base
    for place in range(len(kinds)):
        if kinds[place] == "NSM":  # W1
            kinds[place] = before
        if kinds[place] in ("L", "R", "AL"):
            strong = kinds[place]
        elif kinds[place] == "EN" and strong == "AL":  # W2
            kinds[place] = "AN"
        before = kinds[place]
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]  # W3
    for place in range(1, len(kinds) - 1):  # W4
        kind, left, right = kinds[place], kinds[place - 1], kinds[place + 1]
        if left == right and ((kind == "ES" and left == "EN") or (kind == "CS" and left in ("EN", "AN"))):
            kinds[place] = left
    place = 0
    while place < len(kinds):  # W5
        end = place
        while end < len(kinds) and kinds[end] == "ET":
            end += 1
        if end > place and "EN" in (kinds[place - 1] if place else "", kinds[end] if end < len(kinds) else ""):
            kinds[place:end] = ["EN"] * (end - place)
        place = end + 1
    strong = base
    for place, kind in enumerate(kinds):
        if kind in ("ES", "ET", "CS"):  # W6
            kinds[place] = "ON"
        elif kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":  # W7
            kinds[place] = "L"


def _resolve_brackets(kinds: list[str], signs: list[str], original: list[str], base: Base) -> None:
    """Apply rule N0 in place: both brackets of a pair run the same way."""
    for opening, closing in _bracket_pairs(kinds, signs):
        inside = {_STRONG[kind] for kind in kinds[opening + 1 : closing] if kind in _STRONG}
        if not inside:
            continue
        way: str = base
        if base not in inside:
            before = next((_STRONG[kind] for kind in reversed(kinds[:opening]) if kind in _STRONG), base)
            way = before if before != base else base
        for bracket in (opening, closing):
            kinds[bracket] = way
            for place in range(bracket + 1, len(kinds)):
                if original[place] != "NSM":
                    break
                kinds[place] = way


def _bracket_pairs(kinds: list[str], signs: list[str]) -> list[tuple[int, int]]:
    """Return the bracket pairs in order of opening (BD16)."""
    open_ones: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for place, sign in enumerate(signs):
        if kinds[place] != "ON":
            continue
        if sign in _CLOSING:
            if len(open_ones) == 63:  # limit set by the rule
                return []
            open_ones.append((_CLOSING[sign], place))
        elif sign in _OPENING:
            for depth in range(len(open_ones) - 1, -1, -1):
                if open_ones[depth][0] == sign:
                    pairs.append((open_ones[depth][1], place))
                    del open_ones[depth:]
                    break
    return sorted(pairs)


def _resolve_neutral(kinds: list[str], base: Base) -> None:
    """Apply rules N1 and N2 in place."""
    place = 0
    while place < len(kinds):
        if kinds[place] not in _NEUTRAL:
            place += 1
            continue
        end = place
        while end < len(kinds) and kinds[end] in _NEUTRAL:
            end += 1
        left = _STRONG[kinds[place - 1]] if place else base
        right = _STRONG[kinds[end]] if end < len(kinds) else base
        kinds[place:end] = [left if left == right else base] * (end - place)
        place = end


def signs_of(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each sign: letters with their marks and joined emoji, which must not be split."""
    out: list[tuple[int, int]] = []
    for place, character in enumerate(text):
        joined = place and (
            category(character) in ("Mn", "Me", "Mc")
            or character == _ZERO_WIDTH_JOINER
            or text[place - 1] == _ZERO_WIDTH_JOINER
            or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
            or (
                "\U0001f1e6" <= character <= "\U0001f1ff"  # flags are two letters
                and "\U0001f1e6" <= text[place - 1] <= "\U0001f1ff"
                and out[-1][1] - out[-1][0] == 1
            )
        )
        if joined:
            out[-1] = (out[-1][0], place + 1)
        else:
            out.append((place, place + 1))
    return out
