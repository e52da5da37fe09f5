"""Texts that are put together already, found again among their source texts.

An error is raised in English, a hundred calls below whoever shows it and often in another process; it is kept in the
history in English too. Its source text stands in the catalogue with its places in braces, so that it can be recognised
where it is shown. This must never fail: a text that is not recognised is shown as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import GNUTranslations

PLACE = re.compile(r"\{(\w+)(?::[^{}]*)?\}")


class Templates:
    """The texts with places of one catalogue."""

    def __init__(self, catalogue: GNUTranslations, *, back: bool = False) -> None:
        """Find them.

        Args:
            catalogue: Whose texts are looked for.
            back: Go from the catalogue's language to the source texts.
        """
        entries = [(words, text) if back else (text, words) for text, words in _entries(catalogue)]
        self._whole = dict(entries)
        # Of several that fit, the one that says most is the right one.
        self._known = sorted(
            ((max(PLACE.split(text)[::2], key=len), text, words) for text, words in entries if PLACE.search(text)),
            key=lambda known: -len("".join(PLACE.split(known[1])[::2])),
        )

    def translate(self, text: str) -> str:
        """The text in the catalogue's language, or as it is if it is none of its texts.

        Places within it that are texts of the catalogue themselves are translated too.
        """
        if (whole := self._whole.get(text)) is not None:
            return whole
        for longest, source, words in self._known:
            if len(longest) < 3 or longest not in text:  # a few letters fit everything
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
    # The one thing gettext does not offer: which texts it has. The attribute is as old as the module.
    table: dict[object, str] = getattr(catalogue, "_catalog", {})
    return [(text, words) for text, words in table.items() if isinstance(text, str) and text and words]


def _pattern(source: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def part(number: int, piece: str) -> str:
        if not number % 2:
            return re.escape(piece)
        name = f"p_{piece}"
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>.+?)"

    return re.compile("".join(part(number, piece) for number, piece in enumerate(PLACE.split(source))), re.DOTALL)
