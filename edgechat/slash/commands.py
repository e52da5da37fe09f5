"""Slash commands: their names, what they take, how a line is understood and how it is completed.

The terminal interface and the plain mode share this table, and neither keeps a list of its own. Nothing here runs a
command (see `slash.runner`) or knows an interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from pathlib import Path

from edgechat.chat.conversation import ChatSettings
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.slash import is_command

MOST_OFFERED = 50
"""Completions that are offered at a time."""

EXPORT_FORMATS = {"markdown": ".md", "json": ".json", "openai": ".jsonl", "phi3": ".txt"}
"""Forms in which a chat can be written, and how their files end."""

POLICIES = ("ask", "oldest", "summarise")
SETTINGS = tuple(setting.name for setting in fields(ChatSettings))
"""What one chat may have otherwise than the user's settings."""


class Takes(Enum):
    """What the first word after a command is, for completing it."""

    NOTHING = auto()
    WORDS = auto()
    COMMAND = auto()
    FILE = auto()
    MODEL = auto()
    PERSONA = auto()
    SETTING = auto()
    FORMAT = auto()
    POLICY = auto()


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: Without the slash.
        arguments: What follows it, as help shows it; optional parts are in square brackets.
        help: What it does, in English; translated where it is shown.
        takes: How the argument is completed.
        aliases: Other names.
    """

    name: str
    arguments: str
    help: str
    takes: Takes = Takes.NOTHING
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The command as it is written."""
        return f"/{self.name} {self.arguments}".rstrip()

    @property
    def needs_more(self) -> bool:
        """Whether it can do nothing without an argument."""
        return bool(self.arguments) and not self.arguments.startswith("[")


COMMANDS: tuple[Command, ...] = (
    Command("help", "[COMMAND]", N_("Show all commands, or tell about one"), Takes.COMMAND),
    Command("model", "[NAME]", N_("Show the model, or go on with another one"), Takes.MODEL),
    Command("system", "[TEXT]", N_("Show this chat's system message, or give it another; - for none"), Takes.WORDS),
    Command(
        "persona",
        "[NAME]",
        N_("Show the personas, or give this chat the system message of one"),
        Takes.PERSONA,
    ),
    Command(
        "set", "[KEY [VALUE]]", N_("Show this chat's settings, or change one; default takes it back"), Takes.SETTING
    ),
    Command("read", "FILE", N_("Attach a text file to the next message"), Takes.FILE, ("attach",)),
    Command("regen", "", N_("Answer the last message once more; the old reply stays"), aliases=("regenerate", "retry")),
    Command("continue", "", N_("Go on with a reply that was stopped or cut"), aliases=("resume",)),
    Command("good", "[NOTE]", N_("Mark the last reply as good, with a note if you like"), Takes.WORDS),
    Command("bad", "[NOTE]", N_("Mark the last reply as bad, with a note if you like"), Takes.WORDS),
    Command("edit", "[TEXT]", N_("Say something else in place of the last message; the old one stays"), Takes.WORDS),
    Command("previous", "", N_("Show the version of the chat before this one"), aliases=("prev",)),
    Command("next", "", N_("Show the version of the chat after this one")),
    Command("delete-message", "", N_("Delete the last message with its replies; /undo restores it")),
    Command("undo", "", N_("Undo the last delete"), aliases=("undelete",)),
    Command("new", "", N_("Begin a new chat; this one stays saved"), aliases=("clear",)),
    Command("chats", "", N_("Show the other chats")),
    Command("open", "CHAT", N_("Go to a chat, by its number in /chats or /search"), Takes.WORDS),
    Command("search", "WORDS", N_("Search in all chats"), Takes.WORDS, ("find",)),
    Command("pin", "", N_("Show this chat before the others, or no longer")),
    Command("archive", "", N_("Leave this chat out of the lists, or no longer")),
    Command("rename", "TITLE", N_("Give this chat another title"), Takes.WORDS, ("title",)),
    Command("delete", "", N_("Delete this chat; /undo restores it, for 30 days"), aliases=("forget",)),
    Command(
        "export",
        "[FORMAT] [FILE]",
        N_("Write this chat to a file, or show it: markdown, json, openai, phi3"),
        Takes.FORMAT,
        ("save",),
    ),
    Command("copy", "", N_("Copy the last reply to the clipboard")),
    Command("stats", "", N_("Tell the tokens, the speed and the model of this chat")),
    Command("prompt", "", N_("Show what the model reads, with its tokens")),
    Command(
        "context-policy",
        "[POLICY]",
        N_("Choose what happens when a chat is full: ask, oldest, summarise"),
        Takes.POLICY,
        ("full",),
    ),
    Command("log", "", N_("Show what edgechat logged; nothing of a chat is in it")),
    Command("doctor", "", N_("Check this machine, the model and the chats")),
    Command("quit", "", N_("Leave; a reply is stopped and its text kept"), aliases=("exit", "q", "bye")),
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


class SlashError(EdgechatError):
    """A command cannot be understood."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command that was written.

    Attributes:
        command: Which.
        argument: All that follows its name, without the white space around it.
        line: The command as it was written.
    """

    command: Command
    argument: str = ""
    line: str = field(default="", compare=False)


def parse(text: str) -> Call:
    """Understand a command.

    Raises:
        SlashError: There is no such command, or it lacks what it needs.
    """
    word, _space, argument = _split(text)
    command = find(word)
    if command is None:
        raise _unknown(word)
    argument = argument.strip()
    if command.needs_more and not argument:
        raise SlashError(
            _("/{name} needs more").format(name=command.name),
            _("It is written {usage}.").format(usage=command.usage),
            f"{_(command.help)}.",
        )
    if command.takes is Takes.NOTHING and argument:
        raise SlashError(
            _("/{name} takes nothing after it").format(name=command.name),
            "",
            _("To send the line as a message, write // in front of it."),
        )
    return Call(command, argument, text)


def find(word: str) -> Command | None:
    """The command of that name, with or without its slash."""
    return _BY_NAME.get(word.removeprefix("/").lower())


def _split(text: str) -> tuple[str, str, str]:
    """The command's name, the white space after it, and the rest."""
    rest = text[1:]
    end = next((n for n, character in enumerate(rest) if character.isspace()), len(rest))
    return rest[:end], rest[end : end + 1], rest[end + 1 :]


def _unknown(word: str) -> SlashError:
    import difflib  # for those who err

    near = difflib.get_close_matches(word.lower(), _BY_NAME, n=1, cutoff=0.5)
    hint = _("Did you mean /{name}?").format(name=near[0]) if near else _("/help shows all commands.")
    literal = _("To send the line as a message, write // in front of it.")
    shown = word if len(word) <= 40 else f"{word[:39]}\u2026"
    return SlashError(
        _("There is no command /{name}").format(name=shown), _("Nothing was sent to the model."), f"{hint} {literal}"
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to go on.

    Attributes:
        text: What comes in the place of what is being completed; a space at its end waits for more.
        help: A few words about it; may be empty.
        whole: Whether nothing more can follow, so that it may be obeyed at once.
    """

    text: str
    help: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Completions:
    """Ways to go on with a line.

    Attributes:
        start: Where in the line what they replace begins; it ends where the cursor is.
        items: The best first; empty where there are none.
    """

    start: int = 0
    items: tuple[Completion, ...] = ()


def complete(line: str) -> Completions:
    """Ways to go on with the line in front of the cursor. Looks into folders where a file is named; see `is_quick`."""
    if not is_command(line) or "\n" in line:
        return Completions()
    word, space, argument = _split(line)
    if not space:
        return Completions(0, tuple(_names(word)))
    command = find(word)
    if command is None:
        return Completions()
    start = len(line) - len(argument.lstrip())
    return Completions(start, tuple(_arguments(command.takes, argument.lstrip()))[:MOST_OFFERED])


def is_quick(line: str) -> bool:
    """Whether completing the line asks neither the disk nor the model store."""
    word, space, _argument = _split(line)
    command = find(word)
    return not space or command is None or command.takes not in (Takes.FILE, Takes.MODEL, Takes.PERSONA)


def _names(word: str) -> Iterable[Completion]:
    word = word.lower()
    by_name = [command for command in COMMANDS if command.name.startswith(word)]
    by_alias = [command for command in COMMANDS if any(name.startswith(word) for name in command.aliases)]
    for command in dict.fromkeys((*by_name, *by_alias)):
        space = " " if command.arguments else ""
        yield Completion(f"/{command.name}{space}", _(command.help), whole=not space)


def _arguments(takes: Takes, begun: str) -> Iterable[Completion]:
    match takes:
        case Takes.COMMAND:
            begun = begun.removeprefix("/")
            return (Completion(c.name, _(c.help), whole=True) for c in COMMANDS if c.name.startswith(begun))
        case Takes.FILE:
            return _files(begun)
        case Takes.MODEL:
            return (Completion(name, whole=True) for name in _models() if name.startswith(begun))
        case Takes.PERSONA:
            return (Completion(name, title, whole=True) for name, title in _personas() if name.startswith(begun))
        case Takes.SETTING:
            return _words(begun, SETTINGS)
        case Takes.POLICY:
            return _words(begun, POLICIES, whole=True)
        case Takes.FORMAT:
            return _words(begun, tuple(EXPORT_FORMATS))
    return ()


def _words(begun: str, words: Sequence[str], *, whole: bool = False) -> Iterable[Completion]:
    return (Completion(word if whole else f"{word} ", whole=whole) for word in words if word.startswith(begun))


def _models() -> tuple[str, ...]:
    from edgechat.models.store import ModelStore

    try:
        return ModelStore().names()
    except EdgechatError:
        return ()


def _personas() -> Iterable[tuple[str, str]]:
    from edgechat.settings.personas import all_personas

    return [(persona.name, persona.title) for persona in all_personas()[0]]


def _files(begun: str) -> Iterable[Completion]:
    """The files and folders whose path begins so; folders end with a slash. Hidden ones only where a dot is written."""
    folder, slash, name = begun.rpartition("/")
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
        if entry.isprintable():  # a name with control characters is attached by dropping it
            yield Completion(f"{folder}{slash}{entry}{'' if is_file else '/'}", whole=is_file)
