"""Translates texts that are already formatted, by finding their source texts.

An error is raised in English, far from where it is shown and often in another process, and stored in the history in
English too. The catalogue has its source text with placeholders in braces, so it can be recognised when it is shown.
This must never fail: an unrecognised text is shown unchanged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import GNUTranslations

PLACE = re.compile(r"\{(\w+)(?::[^{}]*)?\}")


class Templates:
    """The texts with placeholders in one catalogue."""

    def __init__(self, catalogue: GNUTranslations, *, back: bool = False) -> None:
        """Collect the texts.

        Args:
            catalogue: The catalogue.
            back: Translate from the catalogue's language to the source texts.
        """
        entries = [(words, text) if back else (text, words) for text, words in _entries(catalogue)]
        self._whole = dict(entries)
        # If several match, the most specific one is right.
        self._known = sorted(
            ((max(PLACE.split(text)[::2], key=len), text, words) for text, words in entries if PLACE.search(text)),
            key=lambda known: -len("".join(PLACE.split(known[1])[::2])),
        )

    def translate(self, text: str) -> str:
        """Translate a text; unchanged if it is not in the catalogue.

        Values inserted into it are translated too if they are in the catalogue.
        """
        if (whole := self._whole.get(text)) is not None:
            return whole
        for longest, source, words in self._known:
            if len(longest) < 3 or longest not in text:  # a few letters match anything
                continue
            found = _pattern(source).fullmatch(text)
            if found is not None:
                return self._filled(words, found.groupdict())
        return text

    def _filled(self, words: str, values: dict[str, str]) -> str:
        def value(place: re.Match[str]) -> str:
            text = values.get(f"p_{place[1]}", place[0])
            return self._whole.get(text, text)

        return PLACE.sub(value, words)


def _entries(catalogue: GNUTranslations) -> list[tuple[str, str]]:
    # gettext does not offer a way to list its texts. The attribute is as old as the module.
    table: dict[object, str] = getattr(catalogue, "_catalog", {})
    return [(text, words) for text, words in table.items() if isinstance(text, str) and text and words]


def _pattern(source: str) -> re.Pattern[str]:
    used: set[str] = set()

    def part(number: int, piece: str) -> str:
        if not number % 2:
            return re.escape(piece)
        name = f"p_{piece}"
        if name in used:
            return f"(?P={name})"
        used.add(name)
        return f"(?P<{name}>.+?)"

    return re.compile("".join(part(number, piece) for number, piece in enumerate(PLACE.split(source))), re.DOTALL)
