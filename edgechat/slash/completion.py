"""Completing a slash command and its arguments, for every interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.slash import is_command
from edgechat.slash.commands import COMMANDS, EXPORT_FORMATS, POLICIES, SETTINGS, Takes, find, split

MOST_OFFERED = 50
"""Maximum number of completions offered at a time."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion.

    Attributes:
        text: The replacement for what is being completed; a trailing space means that more follows.
        help: A short explanation; may be empty.
        whole: Whether the command is complete, so that it can be run immediately.
    """

    text: str
    help: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Completions:
    """Completions of a line.

    Attributes:
        start: Start of the replaced part of the line; it ends at the cursor.
        items: Best first; empty if there are none.
    """

    start: int = 0
    items: tuple[Completion, ...] = ()


def complete(line: str) -> Completions:
    """Complete the line before the cursor. File arguments are looked up on disk; see `is_quick`."""
    if not is_command(line) or "\n" in line:
        return Completions()
    word, space, argument = split(line)
    if not space:
        return Completions(0, tuple(_names(word)))
    command = find(word)
    if command is None:
        return Completions()
    start = len(line) - len(argument.lstrip())
    return Completions(start, tuple(_arguments(command.takes, argument.lstrip()))[:MOST_OFFERED])


def is_quick(line: str) -> bool:
    """Whether completing the line accesses neither the disk nor the model store."""
    word, space, _argument = split(line)
    command = find(word)
    return not space or command is None or command.takes not in (Takes.FILE, Takes.MODEL, Takes.PERSONA)


def _names(word: str) -> Iterable[Completion]:
    word = word.lower()
    by_name = [command for command in COMMANDS if command.name.startswith(word)]
    by_alias = [command for command in COMMANDS if any(name.startswith(word) for name in command.aliases)]
    by_name.sort(key=lambda command: command.name != word)  # what is written whole comes first: Enter takes it
    for command in dict.fromkeys((*by_name, *by_alias)):
        space = " " if command.arguments else ""
        yield Completion(f"/{command.name}{space}", _(command.help), whole=not space)


def _arguments(takes: Takes, typed: str) -> Iterable[Completion]:
    match takes:
        case Takes.COMMAND:
            typed = typed.removeprefix("/")
            return (Completion(c.name, _(c.help), whole=True) for c in COMMANDS if c.name.startswith(typed))
        case Takes.FILE:
            return _files(typed)
        case Takes.MODEL:
            return (Completion(name, whole=True) for name in _models() if name.startswith(typed))
        case Takes.PERSONA:
            return (Completion(name, title, whole=True) for name, title in _personas() if name.startswith(typed))
        case Takes.SETTING:
            return _matching(typed, SETTINGS)
        case Takes.POLICY:
            return _matching(typed, POLICIES, whole=True)
        case Takes.FORMAT:
            return _matching(typed, tuple(EXPORT_FORMATS))
    return ()


def _matching(typed: str, words: Sequence[str], *, whole: bool = False) -> Iterable[Completion]:
    return (Completion(word if whole else f"{word} ", whole=whole) for word in words if word.startswith(typed))


def _models() -> tuple[str, ...]:
    from edgechat.models.store import ModelStore

    try:
        return ModelStore().names()
    except EdgechatError:
        return ()


def _personas() -> Iterable[tuple[str, str]]:
    from edgechat.settings.personas import all_personas

    return [(persona.name, persona.title) for persona in all_personas()[0]]


def _files(typed: str) -> Iterable[Completion]:
    """Complete a path; folders end with a slash. Hidden entries are included only after a dot."""
    folder, slash, name = typed.rpartition("/")
    try:
        where = Path(folder + slash).expanduser() if slash else Path()
        with_hidden = name.startswith(".")
        found = sorted(
            (not entry.is_dir(), entry.name)
            for entry in where.iterdir()
            if entry.name.startswith(name) and (with_hidden or not entry.name.startswith("."))
        )
    except (OSError, RuntimeError, ValueError):
        return
    for is_file, entry in found[:MOST_OFFERED]:
        if entry.isprintable():  # names with control characters can only be attached by dropping them
            yield Completion(f"{folder}{slash}{entry}{'' if is_file else '/'}", whole=is_file)
