"""What a model may be called, and what is said to a name that means none.

A name is a folder on this disk and on every disk the store is copied to, and a word in a shell; so it is kept to what
all of them take. Nothing here looks at a disk.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgechat.errors import ModelError
from edgechat.models.sanitize import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names that mean a device on Windows, with any suffix: a model of that name could not be copied there."""


def is_name(text: str) -> bool:
    """Whether a folder of that name in the store is a model; `check_name` is stricter on what becomes one."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """The name itself, if a model may be called so.

    Raises:
        ModelError: It is empty, too long, has characters that file systems or shells treat specially, or is taken by
            Windows.
    """
    if is_name(name) and not name.endswith(".") and name.split(".", maxsplit=1)[0].lower() not in _DEVICES:
        return name
    raise ModelError(
        "Not a model name",
        f'"{shown(name)}" cannot be the name of a model.',
        "Use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or a digit.",
    )


def name_for(source: Path) -> str:
    """A name made from the folder's own, for a model that is added without one. Raises ModelError when none can be."""
    try:
        return check_name(re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip("-._")[:100].rstrip("."))
    except ModelError as error:
        raise ModelError(
            "Model needs a name",
            f"No name can be made from the folder {shown(source.name) or shown(source)}.",
            "Give one: edgechat models add FOLDER --name NAME",
        ) from error


def unknown_name(name: str, names: tuple[str, ...]) -> ModelError:
    """The error for a name that is not in the store, with the nearest names as hint."""
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "Did you mean " + " or ".join(near) + "?"
    elif names:
        hint = "Installed: " + ", ".join(names[:10]) + ("…" if len(names) > 10 else "") + "."
    else:
        hint = "No model is installed yet: edgechat models add FOLDER"
    return ModelError("Model not found", f'No model called "{shown(name)}" is installed.', hint)
