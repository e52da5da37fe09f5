"""Personas: named system messages stored in files.

A persona is a text file `personas/NAME.md` or `.txt` in the config folder: the first line is `# Title`, the rest is the
system message. A few ship with edgechat, and a user's file with the same name overrides one of those. Their content is
text for the model and is interpreted in no other way.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from edgechat.chat.text_encoding import NotTextError, decoded
from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.regular_files import TooLargeError, read_regular
from edgechat.settings.loader import Settings, config_path, device_path

LONGEST = 64 * 1024
"""Maximum bytes per file: far more than the context of the models edgechat is made for."""

_STRENGTH = ("default", "device", "file", "environment", "flag")


@dataclass(frozen=True, slots=True)
class Persona:
    """A stored system message.

    Attributes:
        name: The file's name without its suffix, by which it is selected.
        title: Title in lists.
        text: The system message.
        path: The file.
        shipped: Whether it came with edgechat.
    """

    name: str
    title: str
    text: str
    path: Path
    shipped: bool


def folder() -> Path:
    """Return the folder of the user's own personas, which may not exist."""
    return paths.config_dir() / "personas"


def all_personas() -> tuple[list[Persona], list[ConfigError]]:
    """Return every persona by title, and the errors for invalid files."""
    found: dict[str, Persona] = {}
    faults: list[ConfigError] = []
    for place, shipped in ((paths.resource("prompts"), True), (folder(), False)):
        try:
            files = sorted(path for path in place.iterdir() if path.suffix.lower() in (".md", ".txt"))
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(
                ConfigError(
                    "Personas cannot be read",
                    Sentence("{place}: {strerror}.", place=place, strerror=error.strerror or error),
                )
            )
            continue
        for path in files:
            if not path.name.startswith("."):
                try:
                    found[path.stem.casefold()] = read(path, shipped=shipped)
                except ConfigError as error:
                    faults.append(error)
    return sorted(found.values(), key=lambda persona: persona.title.casefold()), faults


def read(path: Path, *, shipped: bool = False) -> Persona:
    """Read one file.

    Raises:
        ConfigError: It cannot be read or is not a persona; the message names the file and says what is missing.
    """
    hint = "A persona is a text file: the first line is `# Title`, the rest is the system message."
    try:
        found = decoded(read_regular(path, LONGEST))
    except TooLargeError as error:
        raise ConfigError(
            "Persona not usable",
            Sentence("{path} is longer than {value} KB.", path=path, value=LONGEST // 1024),
            "Shorten it.",
        ) from error
    except OSError as error:
        raise ConfigError(
            "Persona not usable", Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error), hint
        ) from error
    except NotTextError as error:
        raise ConfigError("Persona not usable", Sentence("{path} is not UTF-8 text.", path=path), hint) from error
    if found.first_wrong is not None:
        raise ConfigError("Persona not usable", Sentence("{path} is not UTF-8 text.", path=path), hint)
    text = found.text.replace("\r\n", "\n")
    first, _, rest = text.lstrip().partition("\n")
    title = " ".join(first.removeprefix("#").split())
    if not first.startswith("# ") or not title:
        raise ConfigError("Persona not usable", Sentence("{path}: the first line is not `# Title`.", path=path), hint)
    if not rest.strip():
        raise ConfigError(
            "Persona not usable", Sentence("{path}: there is no system message below the title.", path=path), hint
        )
    return Persona(path.stem, title, rest.strip(), path, shipped)


def find(name: str) -> Persona:
    """Find a persona by name or title, ignoring case.

    Raises:
        ConfigError: There is none, or its file is invalid; the message lists the available ones.
    """
    requested = " ".join(name.casefold().split())
    personas, faults = all_personas()
    for persona in personas:
        if requested in (persona.name.casefold(), persona.title.casefold()):
            return persona
    for fault in faults:
        if any(f"{requested}{suffix}" in fault.message.casefold() for suffix in (".md", ".txt")):
            raise fault
    names = [persona.name for persona in personas]
    near = difflib.get_close_matches(requested, names, n=1)
    raise ConfigError(
        "No such persona",
        Sentence(
            "There is no persona {name}.{value}", name=f"{name!r}", value=f" Did you mean {near[0]}?" if near else ""
        ),
        Sentence("There are: {names}. Your own go into {folder}.", names=", ".join(names), folder=folder()),
    )


def system_message(settings: Settings) -> str:
    """Return the system message for new chats: the persona's, unless a source with higher precedence sets one.

    Raises:
        ConfigError: There is no such persona, or the command line gives both.
    """
    config = settings.config
    if config.persona is None:
        return config.system
    persona, system = settings.source("persona"), settings.source("system")
    if persona == system == "flag":
        raise ConfigError("Two system messages", "The flags --persona and --system each give one.", "Leave one out.")
    if _STRENGTH.index(system) > _STRENGTH.index(persona):
        return config.system
    try:
        return find(config.persona).text
    except ConfigError as error:
        if persona == "flag":
            raise
        where = {"environment": "EDGECHAT_PERSONA", "file": config_path(), "device": device_path()}[persona]
        raise ConfigError(
            error.title, Sentence("{where}: {message}", where=where, message=error.message), error.hint
        ) from error
