"""The table of slash commands: names and arguments, and parsing.

The terminal interface and the plain mode share this table, and neither has a list of its own. Nothing here runs a
command (see `slash.handlers`) or depends on an interface.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum, auto
from typing import get_args

from edgechat.chat.context_window import Policy
from edgechat.chat.conversation import ChatSettings
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.sentence import Sentence

EXPORT_FORMATS = {"markdown": ".md", "json": ".json", "openai": ".jsonl", "phi3": ".txt"}
"""Export formats and their file suffixes."""

POLICIES = get_args(Policy)
SETTINGS = tuple(setting.name for setting in fields(ChatSettings))
"""Settings that a single chat can override."""


class Takes(Enum):
    """The type of a command's first argument, for completion."""

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
        name: Name without the slash.
        arguments: Its arguments as shown in help; optional ones are in square brackets.
        help: What it does, in English; translated where it is shown.
        takes: The type of its argument, for completion.
        aliases: Other names.
    """

    name: str
    arguments: str
    help: str
    takes: Takes = Takes.NOTHING
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The command line syntax."""
        return f"/{self.name} {self.arguments}".rstrip()

    @property
    def needs_more(self) -> bool:
        """Whether it requires an argument."""
        return bool(self.arguments) and not self.arguments.startswith("[")


COMMANDS: tuple[Command, ...] = (
    Command("help", "[COMMAND]", N_("Show all commands, or explain one"), Takes.COMMAND),
    Command("model", "[NAME]", N_("Show the model, or switch to another one"), Takes.MODEL),
    Command("system", "[TEXT]", N_("Show this chat's system message, or set another; - for none"), Takes.WORDS),
    Command(
        "persona",
        "[NAME]",
        N_("Show the personas, or give this chat the system message of one"),
        Takes.PERSONA,
    ),
    Command("set", "[KEY [VALUE]]", N_("Show this chat's settings, or change one; default resets it"), Takes.SETTING),
    Command("read", "FILE", N_("Attach a text file to the next message"), Takes.FILE, ("attach",)),
    Command("regen", "", N_("Answer the last message again; the old reply is kept"), aliases=("regenerate", "retry")),
    Command("continue", "", N_("Go on with a reply that was stopped or cut"), aliases=("resume",)),
    Command("good", "[NOTE]", N_("Mark the last reply as good, with a note if you like"), Takes.WORDS),
    Command("bad", "[NOTE]", N_("Mark the last reply as bad, with a note if you like"), Takes.WORDS),
    Command("edit", "[TEXT]", N_("Replace the last message; the old one is kept"), Takes.WORDS),
    Command("previous", "", N_("Show the version of the chat before this one"), aliases=("prev",)),
    Command("next", "", N_("Show the version of the chat after this one")),
    Command("delete-message", "", N_("Delete the last message with its replies; /undo restores it")),
    Command("undo", "", N_("Undo the last delete"), aliases=("undelete",)),
    Command("new", "", N_("Begin a new chat; this one stays saved"), aliases=("clear",)),
    Command("chats", "", N_("Show the other chats")),
    Command("open", "CHAT", N_("Go to a chat, by its number in /chats or /search"), Takes.WORDS),
    Command("search", "WORDS", N_("Search in all chats"), Takes.WORDS, ("find",)),
    Command("pin", "", N_("Pin this chat to the top of the list, or unpin it")),
    Command("archive", "", N_("Archive this chat, or unarchive it")),
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
    Command("stats", "", N_("Show the tokens, speed and model of this chat")),
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
    Command("quit", "", N_("Quit; a reply is stopped and its text is kept"), aliases=("exit", "q", "bye")),
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


class SlashError(EdgechatError):
    """A command is not understood."""


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed command line.

    Attributes:
        command: The command.
        argument: Everything after its name, stripped.
        line: The line as typed.
    """

    command: Command
    argument: str = ""
    line: str = field(default="", compare=False)


def parse(text: str) -> Call:
    """Parse a command line.

    Raises:
        SlashError: There is no such command, or an argument is missing.
    """
    word, _space, argument = split(text)
    command = find(word)
    if command is None:
        raise _unknown(word)
    argument = argument.strip()
    if command.needs_more and not argument:
        raise SlashError(
            Sentence("/{name} needs more", name=command.name),
            Sentence("It is written {usage}.", usage=command.usage),
            f"{_(command.help)}.",
        )
    if command.takes is Takes.NOTHING and argument:
        raise SlashError(
            Sentence("/{name} takes nothing after it", name=command.name),
            "",
            "To send the line as a message, write // in front of it.",
        )
    return Call(command, argument, text)


def find(word: str) -> Command | None:
    """Return the command with that name, with or without its slash."""
    return _BY_NAME.get(word.removeprefix("/").lower())


def split(text: str) -> tuple[str, str, str]:
    """Split into the command's name, the white space after it, and the rest."""
    rest = text[1:]
    end = next((n for n, character in enumerate(rest) if character.isspace()), len(rest))
    return rest[:end], rest[end : end + 1], rest[end + 1 :]


def _unknown(word: str) -> SlashError:
    import difflib  # only needed for errors

    near = difflib.get_close_matches(word.lower(), _BY_NAME, n=1, cutoff=0.5)
    hint = _("Did you mean /{name}?").format(name=near[0]) if near else _("/help shows all commands.")
    literal = _("To send the line as a message, write // in front of it.")
    shown = word if len(word) <= 40 else f"{word[:39]}\u2026"
    return SlashError(
        Sentence("There is no command /{name}", name=shown),
        "Nothing was sent to the model.",
        Sentence("{hint} {literal}", hint=hint, literal=literal),
    )
