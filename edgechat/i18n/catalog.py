"""The interface's words in the user's language: gettext, and the one place that chooses.

Source texts are English and are the keys of the catalogues in `edgechat/i18n/locale`. What is written where no
language is chosen yet (class bodies, constants) is marked with `N_` and translated with `_` where it is shown. Text
of a user or a model must never come here. In English nothing is read and nothing imported: the start must not pay for
translation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gettext

    from edgechat.i18n.error_messages import Templates

DOMAIN = "edgechat"
SOURCE = "en"
FOLDER = Path(__file__).with_name("locale")
VARIABLES = ("EDGECHAT_LANGUAGE", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")

_RIGHT_TO_LEFT = {"ar", "fa", "he", "ur", "yi"}


class _Spoken:
    """The language in use; it is asked of the locale when the first text is wanted, unless one was chosen before."""

    language = ""
    catalogue: gettext.GNUTranslations | None = None
    templates: Templates | None = None
    sources: Templates | None = None


def use(language: str | None = None) -> str:
    """Choose the language for the whole process.

    Args:
        language: A code such as "he" or "pt_BR"; None or "auto" asks the variables (EDGECHAT_LANGUAGE, LANGUAGE,
            LC_ALL, LC_MESSAGES, LANG) and, on Windows without them, the system.

    Returns:
        The code of the language in use: the first wanted one that there is a catalogue of, else "en".
    """
    wanted = [language] if language and language != "auto" else list(_of_the_user(os.environ))
    _Spoken.language, path = _first_known(wanted)
    _Spoken.catalogue = _Spoken.templates = _Spoken.sources = None
    if path is not None:
        import gettext  # only who reads another language pays for it

        with path.open("rb") as file:
            _Spoken.catalogue = gettext.GNUTranslations(file)
    return _Spoken.language


def language() -> str:
    """The code of the language in use."""
    return _Spoken.language or use()


def right_to_left() -> bool:
    """Whether the interface's words are written from right to left."""
    return language().partition("_")[0] in _RIGHT_TO_LEFT


def languages() -> list[str]:
    """The codes of all languages there are, English first."""
    return [SOURCE, *sorted(path.parent.parent.name for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))]


def is_known(code: str) -> bool:
    """Whether there are words in that language."""
    return code.replace("-", "_").partition("_")[0].lower() == SOURCE or _first_known([code])[1] is not None


def is_chosen() -> bool:
    """Whether a language was chosen or asked for already."""
    return bool(_Spoken.language)


def _(text: str) -> str:
    """A source text in the language in use."""
    if not _Spoken.language:
        use()
    catalogue = _Spoken.catalogue
    return catalogue.gettext(text) if catalogue is not None and text else text


def ngettext(one: str, many: str, count: int) -> str:
    """The form for a number of things."""
    if not _Spoken.language:
        use()
    if _Spoken.catalogue is not None:
        return _Spoken.catalogue.ngettext(one, many, count)
    return one if count == 1 else many


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things in English, for what is not translated: "1 chat", "2,000 chats".

    Args:
        number: How many.
        one: What one is called.
        many: What several are called, if it is not that with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def told(text: str) -> str:
    """A text that is put together already, such as an error's words, in the language in use; as it is if unknown.

    Errors are raised, logged, sent between processes and kept in English; here, where one is shown, its source text is
    recognised and what stands in it goes into the translation. It is for errors: `_` costs less and is never wrong.
    """
    if not _Spoken.language:
        use()
    if _Spoken.catalogue is None or not text:
        return text
    if _Spoken.templates is None:
        from edgechat.i18n.error_messages import (
            Templates,  # regular expressions that only errors in another language need
        )

        _Spoken.templates = Templates(_Spoken.catalogue)
    return _Spoken.templates.translate(text)


def source_of(text: str) -> str:
    """The English text behind one that is put together already, for what is kept; as it is if unknown.

    Some errors are put into words where they are raised. Kept like that, they would speak that language for ever.
    """
    if not _Spoken.language:
        use()
    if _Spoken.catalogue is None or not text:
        return text
    if _Spoken.sources is None:
        from edgechat.i18n.error_messages import Templates

        _Spoken.sources = Templates(_Spoken.catalogue, back=True)
    return _Spoken.sources.translate(text)


def retold(kept: str) -> str:
    """The words of an error that was kept, a title and a message, in the language in use."""
    at = -1
    while (at := kept.find(". ", at + 1)) >= 0:
        title = kept[:at]
        if (words := told(title)) != title:
            return f"{words}. {told(kept[at + 2 :])}"
    whole = told(kept.removesuffix("."))
    return f"{whole}." if kept.endswith(".") and not whole.endswith(".") else whole


def in_words(title: str, message: str = "", hint: str = "") -> str:
    """The words of an error in one line, in the language in use."""
    return " ".join(part for part in (f"{told(title)}.", told(message), told(hint)) if part)


def N_(text: str) -> str:  # noqa: N802 - the name gettext's tools look for
    """Mark a source text that is translated later."""
    return text


def _of_the_user(variables: Mapping[str, str]) -> Iterator[str]:
    """The languages that the environment asks for, the wanted one first."""
    if own := variables.get(VARIABLES[0]):
        yield own
        return
    locale = next((value for name in VARIABLES[2:] if (value := variables.get(name))), "")
    if locale.partition(".")[0] in ("C", "POSIX"):  # asks for no language at all, as gettext has it
        return
    if several := variables.get(VARIABLES[1]):
        yield from several.split(":")
    if locale:
        yield locale
    elif sys.platform == "win32":
        import ctypes
        from locale import windows_locale

        yield windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")


def _first_known(wanted: Sequence[str]) -> tuple[str, Path | None]:
    """The first language there is, from "he_IL.UTF-8@euro" or "he-IL", and its catalogue; English has none."""
    for name in wanted:
        code = name.partition(".")[0].partition("@")[0].replace("-", "_")
        base = code.partition("_")[0].lower()
        if base == SOURCE:
            break
        base = {"iw": "he"}.get(base, base)  # what Hebrew was called once, and still is by some systems
        for known in (code, base):
            path = FOLDER / known / "LC_MESSAGES" / f"{DOMAIN}.mo"
            if known.replace("_", "").isalnum() and path.is_file():
                return known, path
    return SOURCE, None
