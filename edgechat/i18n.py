"""The interface's words in the user's language: gettext, and the one place that chooses.

Source texts are English and are the keys of the catalogues in `edgechat/locale`. What is written where no language is
chosen yet (class bodies, constants) is marked with `N_` and translated with `_` where it is shown. Text of a user or a
model must never come here.
"""

from __future__ import annotations

import gettext
from pathlib import Path

DOMAIN = "edgechat"

_catalogue: gettext.NullTranslations = gettext.NullTranslations()


def use(languages: list[str] | None = None) -> None:
    """Choose the language for the whole process.

    Args:
        languages: Codes, the wanted one first; None asks the locale (LANGUAGE, LC_ALL, LC_MESSAGES, LANG).
    """
    global _catalogue  # noqa: PLW0603 - one process speaks one language
    _catalogue = gettext.translation(DOMAIN, Path(__file__).with_name("locale"), languages, fallback=True)


def _(text: str) -> str:
    """A source text in the language in use."""
    return _catalogue.gettext(text) if text else text


def ngettext(one: str, many: str, count: int) -> str:
    """The form for a number of things."""
    return _catalogue.ngettext(one, many, count)


def N_(text: str) -> str:  # noqa: N802 - the name gettext's tools look for
    """Mark a source text that is translated later."""
    return text
