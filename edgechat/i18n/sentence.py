"""Sentences that are put into words where they are read: a source text, and what stands in its places.

An error is raised a hundred calls below whoever shows it, often in another process, and a failed reply keeps its error
for years. So an error carries source texts, which are its codes in the catalogue of every language, and their
parameters. Words are made of them by `i18n.catalog`, in the language of whoever reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{(\w+)\}")


class Sentence(str):
    """A source text with what stands in its places; as a `str`, it is those words in English.

    Attributes:
        source: The text in English, with places in braces: "{name} is missing".
        values: What stands in the places; sentences among them are put into words too.
    """

    __slots__ = ("source", "values")

    source: str
    values: dict[str, str]

    def __new__(cls, source: str, /, **values: object) -> Sentence:
        """Fill the places of a source text; a place without a value stays as it is."""
        texts = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
        made = super().__new__(cls, filled(source, texts))
        made.source = source
        made.values = texts
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        """Copies and pickles keep source and values."""
        return (self.source,), self.values


def filled(source: str, values: Mapping[str, str]) -> str:
    """A source text, or its translation, with its places filled.

    Not `str.format`, which would do more than that for a text that comes from a file: it may be of an imported chat.
    """
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), source)


Plain = str | list[Any]
"""A sentence as JSON holds it: a text without places, or a source text and its values by name."""


def plain(text: str) -> Plain:
    """A text as it is sent and stored: its source and its values, where it has them."""
    if isinstance(text, Sentence):
        return [text.source, {name: plain(value) for name, value in text.values.items()}]
    return text


def restored(value: object) -> str:
    """The text that `plain` took apart; what is of another form is no sentence of edgechat's and is given as text."""
    match value:
        case str():
            return value
        case [str() as source, dict() as values]:
            return Sentence(source, **{str(name): restored(part) for name, part in values.items()})
        case _:
            return str(value)


def dump(title: str, message: str = "") -> str:
    """An error's title and message, as one text that can be stored."""
    return json.dumps({"title": plain(title), "message": plain(message)}, ensure_ascii=False)


def load(stored: str) -> tuple[str, str]:
    """The title and message that `dump` stored; of older histories the whole text, which is English, is the message."""
    if stored.startswith('{"title":'):
        try:
            match json.loads(stored):
                case {"title": title, "message": message}:
                    return restored(title), restored(message)
        except (ValueError, RecursionError):
            pass
    return "", stored
