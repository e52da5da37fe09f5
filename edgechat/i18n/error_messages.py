"""Errors in the language of whoever reads them.

They are raised, sent between processes and stored as sentences (`i18n.sentence`), and become words here: where one is
shown, also years after it happened.
"""

from __future__ import annotations

from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import Sentence, filled, load


def translate_error(text: str) -> str:
    """Translate an error's title, message or hint to the language in use; any other text is returned as it is.

    Errors are raised, sent between processes and stored as sentences. They are put into words here, where one is read.
    """
    if isinstance(text, Sentence):
        return filled(_(text.source), {name: translate_error(value) for name, value in text.values.items()})
    return _(text)


def translate_stored_error(stored: str) -> str:
    """The words of an error that was stored with a reply (`sentence.dump`), in the language in use."""
    title, message = load(stored)
    return ". ".join(part for part in (translate_error(title), translate_error(message)) if part)


def format_error(title: str, message: str = "", hint: str = "") -> str:
    """Format an error on one line in the current language."""
    return " ".join(
        part for part in (f"{translate_error(title)}.", translate_error(message), translate_error(hint)) if part
    )
