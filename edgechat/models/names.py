"""Rules for model names, and the error for an unknown one.

A name becomes a folder on this disk and on any disk the store is copied to, and an argument in a shell, so it is
limited to what all of them accept. Nothing here accesses a disk.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.sanitize import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Device names on Windows, with any suffix: a model with such a name could not be copied there."""


def is_name(text: str) -> bool:
    """Whether a folder with that name in the store is a model; `check_name` is stricter about new names."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """Return the name if it is valid for a model.

    Raises:
        ModelError: It is empty, too long, contains characters that file systems or shells treat specially, or is
            reserved by Windows.
    """
    if is_name(name) and not name.endswith(".") and name.split(".", maxsplit=1)[0].lower() not in _DEVICES:
        return name
    raise ModelError(
        "Not a model name",
        Sentence('"{name}" cannot be the name of a model.', name=shown(name)),
        "Use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or a digit.",
    )


def name_for(source: Path) -> str:
    """Derive a name from a folder's name, for a model added without one. Raises ModelError if that is impossible."""
    try:
        return check_name(re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip("-._")[:100].rstrip("."))
    except ModelError as error:
        raise ModelError(
            "Model needs a name",
            Sentence("No name can be made from the folder {name}.", name=shown(source.name) or shown(source)),
            "Give one: edgechat models add FOLDER --name NAME",
        ) from error


def unknown_name(name: str, names: tuple[str, ...]) -> ModelError:
    """Return the error for a name not in the store, with similar names as a hint."""
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "Did you mean " + " or ".join(near) + "?"
    elif names:
        hint = "Installed: " + ", ".join(names[:10]) + ("…" if len(names) > 10 else "") + "."
    else:
        hint = "No model is installed yet: edgechat models add FOLDER"
    return ModelError("Model not found", Sentence('No model called "{name}" is installed.', name=shown(name)), hint)
