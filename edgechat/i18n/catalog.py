"""Translates the interface into the user's language with gettext, and selects that language.

Source texts are English and are the keys of the catalogues in `edgechat/i18n/locale`. Text in class bodies and
constants, where no language is selected yet, is marked with `N_` and translated with `_` where it is shown. Text from a
user or a model must never come here. In English nothing is read or imported: startup must not pay for translation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gettext

DOMAIN = "edgechat"
SOURCE = "en"
FOLDER = Path(__file__).with_name("locale")
VARIABLES = ("EDGECHAT_LANGUAGE", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")

_RIGHT_TO_LEFT = {"ar", "fa", "he", "ur", "yi"}


class _Current:
    """The current language; determined from the locale when the first text is needed, unless selected before."""

    language = ""
    catalogue: gettext.GNUTranslations | None = None


def use(language: str | None = None) -> str:
    """Select the language for the whole process.

    Args:
        language: A code such as "he" or "pt_BR"; None or "auto" uses the variables (EDGECHAT_LANGUAGE, LANGUAGE,
            LC_ALL, LC_MESSAGES, LANG) and, on Windows without them, the system's language.

    Returns:
        The code of the selected language: the first requested one with a catalogue, else "en".
    """
    requested = [language] if language and language != "auto" else list(_requested_languages(os.environ))
    _Current.language, path = _first_known(requested)
    _Current.catalogue = None
    if path is not None:
        import gettext  # not needed in English

        with path.open("rb") as file:
            _Current.catalogue = gettext.GNUTranslations(file)
    return _Current.language


def language() -> str:
    """Return the code of the current language."""
    return _Current.language or use()


def right_to_left() -> bool:
    """Whether the interface is written from right to left."""
    return language().partition("_")[0] in _RIGHT_TO_LEFT


def languages() -> list[str]:
    """Return the codes of all available languages, English first."""
    return [SOURCE, *sorted(path.parent.parent.name for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))]


def is_known(code: str) -> bool:
    """Whether a language is available."""
    return code.replace("-", "_").partition("_")[0].lower() == SOURCE or _first_known([code])[1] is not None


def is_chosen() -> bool:
    """Whether a language has been selected or determined."""
    return bool(_Current.language)


def _(text: str) -> str:
    """Translate a source text."""
    if not _Current.language:
        use()
    catalogue = _Current.catalogue
    return catalogue.gettext(text) if catalogue is not None and text else text


def ngettext(one: str, many: str, count: int) -> str:
    """Translate a text that depends on a number."""
    if not _Current.language:
        use()
    if _Current.catalogue is not None:
        return _Current.catalogue.ngettext(one, many, count)
    return one if count == 1 else many


def counted(number: int, one: str, many: str = "") -> str:
    """Format a number of things in English, for untranslated text: "1 chat", "2,000 chats".

    Args:
        number: The number.
        one: The singular.
        many: The plural, if it is not formed with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def N_(text: str) -> str:  # noqa: N802 - the name gettext's tools look for
    """Mark a source text for translation later."""
    return text


def _requested_languages(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the languages requested by the environment, preferred first."""
    if own := variables.get(VARIABLES[0]):
        yield own
        return
    locale = next((value for name in VARIABLES[2:] if (value := variables.get(name))), "")
    if locale.partition(".")[0] in ("C", "POSIX"):  # requests no language, as in gettext
        return
    if several := variables.get(VARIABLES[1]):
        yield from several.split(":")
    if locale:
        yield locale
    elif sys.platform == "win32":
        import ctypes
        from locale import windows_locale

        yield windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")


def _first_known(requested: Sequence[str]) -> tuple[str, Path | None]:
    """Return the first available language, from "he_IL.UTF-8@euro" or "he-IL", and its catalogue; English has none."""
    for name in requested:
        code = name.partition(".")[0].partition("@")[0].replace("-", "_")
        base = code.partition("_")[0].lower()
        if base == SOURCE:
            break
        base = {"iw": "he"}.get(base, base)  # an old code for Hebrew that some systems still use
        for known in (code, base):
            path = FOLDER / known / "LC_MESSAGES" / f"{DOMAIN}.mo"
            if known.replace("_", "").isalnum() and path.is_file():
                return known, path
    return SOURCE, None
