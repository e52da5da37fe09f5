"""All keys of the interface: what they are called, what they do, and what a user makes of them.

They are read from the bindings themselves, so that no list of them can be wrong. Reading them imports every screen,
which is for those who ask: the help, `edgechat keys`, and a start with keys of the user's own, after the first paint.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character
from textual.screen import ModalScreen, Screen

from edgechat.i18n.catalog import N_, _

GROUPS = {
    "app": N_("Everywhere"),
    "chat": N_("Chat"),
    "composer": N_("Writing"),
    "turn": N_("Reading"),
    "list": N_("List of chats"),
    "card": N_("Cards"),
    "models": N_("Models"),
    "settings": N_("Settings"),
    "keys": N_("Keys"),
    "choice": N_("Choices in the settings"),
    "answer": N_("Answers of commands"),
    "help": N_("Help"),
    "log": N_("Log"),
    "doctor": N_("Doctor"),
}
"""Headings by the first part of an id, in the order of the help; further ones follow by their names."""

_SHOWN = {"escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn", "delete": "Del", "insert": "Ins"}

_ALIASES = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "control": "ctrl",
    "option": "alt",
}

_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")

_WHOLE_NAMES = {short: whole for whole, short in KEY_NAME_REPLACEMENTS.items()}
"""Unicode's names of the signs that Textual calls by shorter ones."""

_NAMED = frozenset(key.value.rpartition("+")[2] for key in Keys)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a key does.

    Attributes:
        id: What it is called in the settings.
        keys: The keys it has by default, separated by commas.
        action: What Textual calls it.
        title: A word or two for it, in English.
        about: What it does, in English.
        owner: Where it works.
        priority: Whether it comes before what has the focus.
    """

    id: str
    keys: str
    action: str
    title: str
    about: str
    owner: type[DOMNode]
    priority: bool = False

    @property
    def group(self) -> str:
        """The heading it stands under, translated."""
        name = self.id.partition(".")[0]
        return _(GROUPS[name]) if name in GROUPS else name.capitalize()


@cache
def entries() -> tuple[Entry, ...]:
    """Everything that has a key, by group and in the order of its class."""
    for part in ("chat", "dialogs", "widgets"):
        package = importlib.import_module(f"edgechat.tui.{part}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("edgechat.tui.app")
    found: dict[str, Entry] = {}
    for owner in _classes(DOMNode):
        if not owner.__module__.startswith("edgechat.tui"):
            continue
        for binding in owner.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id and binding.id not in found:
                found[binding.id] = Entry(
                    binding.id,
                    binding.key,
                    binding.action,
                    binding.description,
                    binding.tooltip,
                    owner,
                    binding.priority,
                )
    order = list(GROUPS)
    place = {name: number for number, name in enumerate(found)}

    def rank(entry: Entry) -> tuple[int, str, int]:
        name = entry.id.partition(".")[0]
        return (order.index(name), "", place[entry.id]) if name in GROUPS else (len(order), name, place[entry.id])

    return tuple(sorted(found.values(), key=rank))


def _classes(root: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for child in root.__subclasses__():
        yield child
        yield from _classes(child)


def key_words(keys: str, most: int = 2) -> str:
    """Keys as people write them: "ctrl+j" is "Ctrl+J". No more than `most` of them, or all for 0."""
    return ", ".join(_key_words(key) for key in keys.split(",")[: most or None])


def _key_words(key: str) -> str:
    *modifiers, last = key.split("+")
    if last in _SHOWN:
        shown = _SHOWN[last]
    elif len(last) > 1 and last not in ("space", "tab", "enter") and (sign := _character(last)):
        shown = sign
    elif len(last) == 1:  # a letter by itself is typed as it stands; with a modifier, people write a capital
        shown = last.upper() if modifiers else last
    else:
        shown = last.capitalize()
    return "+".join([*(name.capitalize() for name in modifiers), shown])


def _character(name: str) -> str | None:
    """The sign that a key without a modifier types; None for a key that types none."""
    return key_to_character(_WHOLE_NAMES.get(name, name))


def normalised(keys: str) -> str:
    """Keys as Textual calls them, however people write them: "Ctrl+N, Esc" is "ctrl+n,escape"."""
    return ",".join(_normal(key) for key in _split(keys))


def _split(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]


def _normal(key: str) -> str:
    *modifiers, last = [part.strip() for part in key.split("+")] if key != "+" else [key]
    if len(last) > 1 or modifiers:
        last = last.lower()
    names = [_ALIASES.get(name.lower(), name.lower()) for name in modifiers]
    return "+".join([*names, _ALIASES.get(last, last)])


def keymap(keys: Mapping[str, str]) -> dict[str, str]:
    """The user's keys for Textual; those that cannot be used are left out."""
    return {name: normalised(wanted) for name, wanted in keys.items() if _split(wanted) and not _unusable(wanted)}


def keys_of(entry: Entry, keys: Mapping[str, str]) -> str:
    """The keys that something has with those of the user."""
    return keymap(keys).get(entry.id, entry.keys)


def problems(keys: Mapping[str, str]) -> list[str]:
    """What is wrong with a user's keys, a sentence each; nothing of it keeps the interface from starting."""
    known = {entry.id: entry for entry in entries()}
    told = []
    for name, wanted in keys.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = _(" Did you mean {near}?").format(near=near[0]) if near else ""
            told.append(_("Keys: there is nothing called {id}.").format(id=name) + hint)
        elif not _split(wanted):
            told.append(_("Keys: {id} is given no key, and keeps its own.").format(id=name))
        elif bad := _unusable(wanted):
            told.append(_("Keys: {key} of {id} is no key.").format(key=bad, id=name))
    mine = keymap({name: wanted for name, wanted in keys.items() if name in known})
    for name, wanted in mine.items():
        for key in wanted.split(","):
            told += _conflicts(known[name], key, mine, known)
    return list(dict.fromkeys(told))


def _conflicts(entry: Entry, key: str, mine: Mapping[str, str], known: Mapping[str, Entry]) -> Iterator[str]:
    for other in known.values():
        if other.id == entry.id or key not in mine.get(other.id, other.keys).split(","):
            continue
        if _together(entry, other) and not _meant(entry, other, key):
            first, second = sorted((entry.id, other.id))
            yield _("Keys: {key} is taken twice, by {first} and by {second}.").format(
                key=key_words(key), first=first, second=second
            )
    from textual.widgets import TextArea

    typing = {name for binding in TextArea.BINDINGS if isinstance(binding, Binding) for name in binding.key.split(",")}
    if issubclass(entry.owner, (App, Screen)) and not issubclass(entry.owner, ModalScreen) and not entry.priority:
        if key in typing:
            yield _("Keys: {key} of {id} belongs to the text that is written, and does not get there.").format(
                key=key_words(key), id=entry.id
            )
        elif len(key) == 1 or ("+" not in key and _character(key) is not None):
            yield _("Keys: {key} of {id} is a letter like any other where text is written.").format(
                key=key_words(key), id=entry.id
            )


def _together(one: Entry, other: Entry) -> bool:
    """Whether both may be waiting for a key at the same time."""

    def modal(entry: Entry) -> bool:
        return issubclass(entry.owner, ModalScreen)

    for app, place in ((one, other), (other, one)):
        if issubclass(app.owner, App):
            return app.priority or not modal(place)
    if issubclass(one.owner, other.owner) or issubclass(other.owner, one.owner):
        return True
    if modal(one) or modal(other):
        return False
    return issubclass(one.owner, Screen) != issubclass(other.owner, Screen)


def _meant(one: Entry, other: Entry, key: str) -> bool:
    """Whether a part of the screen has the key for itself while it has the focus, as it was made to."""
    apart = not issubclass(one.owner, other.owner) and not issubclass(other.owner, one.owner)
    return apart and key in one.keys.split(",") and key in other.keys.split(",")


def _unusable(keys: str) -> str:
    """The first of the keys that no terminal sends; empty where all can be used."""
    for key in _split(keys):
        *modifiers, last = _normal(key).split("+") if key != "+" else [key]
        known = len(last) == 1 or last in _NAMED or _character(last) is not None
        if not known or any(name not in _MODIFIERS for name in modifiers):
            return key
    return ""
