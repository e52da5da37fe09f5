"""Settings: each comes from a flag, else from the environment, else from a TOML file, else from its default.

There are two files: the user's `config.toml` in edgechat's config folder, and before it the device's `edgechat.toml`
beside a packaged binary, which may also lock keys. Every value is checked when it is read; an error names the place it
came from and the key. This module never writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgechat.errors import ConfigError
from edgechat.runtime import paths
from edgechat.runtime.logs import Level
from edgechat.runtime.regular_files import read_regular
from edgechat.settings.descriptions import WORDS

PREFIX = "EDGECHAT_"
DEVICE_FILE = "edgechat.toml"
LARGEST_FILE = 1_000_000
"""Bytes of a file of settings."""

# The sampling defaults suit the small models this is made for: cool enough to stay on the subject, with a light penalty
# against the loops that quantised models of a few hundred million parameters fall into.
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
TopP = Annotated[float, msgspec.Meta(gt=0, le=1)]
TopK = Annotated[int, msgspec.Meta(ge=1, le=1000)]
RepetitionPenalty = Annotated[float, msgspec.Meta(gt=0, le=3)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1)]
ContextTokens = Annotated[int, msgspec.Meta(ge=64)]
Megabytes = Annotated[int, msgspec.Meta(ge=0)]
Policy = Literal["ask", "oldest", "summarise"]
Language = Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{2,3}([_-][A-Za-z]+)?$")]
Bidi = Literal["auto", "app", "terminal", "off"]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1024)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings in force.

    Attributes:
        model_uri: Model to open: a path or the name of an installed model; None is the default model.
        system: System message of new chats; empty leaves it to the model's own template.
        persona: Name of a kept system message, which takes the place of `system`; None is none.
        temperature: 0 is greedy.
        top_p: Nucleus sampling.
        top_k: Tokens to choose from, likeliest first.
        repetition_penalty: 1 is none.
        seed: Makes sampling repeatable.
        max_tokens: Upper bound of a reply; None is up to the end of the context.
        context: Tokens a chat may hold; None is what the model and the free memory allow.
        context_policy: What happens when a chat no longer fits: "ask" stops and tells, "oldest" leaves out its oldest
            turns, "summarise" has the model sum those up. Nothing of it changes what is kept.
        cache_memory: Megabytes in which recent chats stay computed beside the one being held; None is a quarter of
            the free memory, 1,024 at the most.
        threads: Threads of the computation; None is one per physical core.
        spinning: Whether computing threads spin while they wait: faster on an idle machine, slower on a busy one.
        history: Whether chats are kept; False forgets them when the program ends.
        plain: Whether the chat is a linear one, line after line; None is where the terminal can do nothing else.
        theme: Colours of the interface, by name; None follows the terminal where it tells its background, else dark.
        language: Code of the interface's language, such as "he"; None is what the system speaks.
        bidi: Who puts text from right to left in order on the screen: "app" is edgechat, "terminal" leaves it to the
            terminal, "off" neither orders nor aligns it, "auto" looks at which terminal it is.
        reduced_motion: Whether the interface leaves out everything that moves by itself.
        log_level: How much the log tells; nothing of a chat is in it at any level.
        keys: Keys of the interface by the id of what they do, as in "chat.new" = "ctrl+n,f7".
    """

    model_uri: str | None = None
    system: str = "You are a helpful AI assistant."
    persona: str | None = None
    temperature: Temperature = 0.3
    top_p: TopP = 0.9
    top_k: TopK = 50
    repetition_penalty: RepetitionPenalty = 1.05
    seed: Seed | None = None
    max_tokens: MaxTokens | None = None
    context: ContextTokens | None = None
    context_policy: Policy = "ask"
    cache_memory: Megabytes | None = None
    threads: Threads | None = None
    spinning: bool = True
    history: bool = True
    plain: bool | None = None
    theme: str | None = None
    language: Language | None = None
    bidi: Bidi = "auto"
    reduced_motion: bool = False
    log_level: Level = "info"
    keys: dict[str, str] = {}


Source = Literal["flag", "environment", "file", "device", "default"]
"""Where a setting comes from; "file" is the user's, "device" the one beside the binary."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force, and where each comes from.

    Attributes:
        config: Their values.
        sources: By key, for all keys that are not their defaults.
        locked: Keys that only the device's file may set.
    """

    config: Config = field(default_factory=Config)
    sources: Mapping[str, Source] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()

    def source(self, key: str) -> Source:
        """Where a setting comes from."""
        return self.sources.get(key, "default")


def config_path() -> Path:
    """The TOML file; it need not exist."""
    return paths.config_dir() / "config.toml"


def device_path() -> Path | None:
    """The device's own settings file beside the packaged binary; None where there is none.

    In a folder where everyone can write, somebody else's file is passed over: it has to belong to the system, to this
    user, or to whom the binary belongs.

    Raises:
        ConfigError: It cannot be looked at.
        StorageError: A folder above it is in the hands of others, who could exchange it.
    """
    for folder in paths.adjacent_folders():
        path = folder / DEVICE_FILE
        try:
            owner = path.stat().st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError("Settings file cannot be read", f"{path}: {error.strerror or error}.") from error
        if os.name != "posix" or owner in {0, os.getuid(), *paths.owners()}:
            paths.require_trusted_adjacent(path)
            return path
    return None


def load_config(**flags: Any) -> Config:
    """The values of `load_settings`."""
    return load_settings(**flags).config


def load_settings(**flags: Any) -> Settings:
    """Read the settings.

    A key that the device's file locks is what that file says, or its default: the user's file and variables are passed
    over, since they may have been there before, and a flag is an error, since somebody expects something of it.

    Args:
        **flags: Values from the command line by key; None means that the flag was not given.

    Raises:
        ConfigError: A file cannot be read or is not TOML, a key is unknown or locked, or a value is not usable; the
            message names the file, variable or flag.
    """
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    locked: frozenset[str] = frozenset()

    def take(found: Mapping[str, Any], source: Source) -> None:
        values.update(found)
        sources.update(dict.fromkeys(found, source))

    device = device_path()
    if device is not None:
        found, locked = _device(device)
        take(found, "device")
    path = config_path()
    users = _checked(_read(path), str(path))
    take({key: value for key, value in users.items() if key not in locked}, "file")
    for key in Config.__struct_fields__:
        variable = PREFIX + key.upper()
        text = os.environ.get(variable)
        if text and key not in locked and key != "keys":
            take(_checked({key: text}, f"The variable {variable}", strict=False), "environment")
    for key, value in flags.items():
        if value is not None:
            flag = "--" + key.replace("_", "-")
            if key in locked:
                raise ConfigError(
                    "Setting is locked",
                    f"The flag {flag} would change {key}, which {device} locks on this device.",
                    "Leave the flag out.",
                )
            take(_checked({key: value}, f"The flag {flag}"), "flag")
    return Settings(Config(**values), sources, locked)


def check_value(key: str, text: str) -> Any:
    """The value that a text stands for, as it is written in a variable or typed.

    Raises:
        ConfigError: It is not usable; the message says why.
    """
    try:
        return getattr(msgspec.convert({key: text}, Config, strict=False), key)
    except msgspec.ValidationError as error:
        raise ConfigError("Setting not usable", _plain(error)) from error


def in_bounds(key: str, value: Any) -> bool:
    """Whether a setting may have that value."""
    try:
        msgspec.convert({key: value}, Config)
    except msgspec.ValidationError:
        return False
    return True


def _device(path: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """The values of the device's file and the keys it locks."""
    values = _read(path)
    locked = values.pop("locked", [])
    known = Config.__struct_fields__
    if not isinstance(locked, list) or not all(key in known for key in locked):
        raise ConfigError(
            "Setting not usable",
            f"{path}: locked is to be a list of keys.",
            'As in: locked = ["model_uri", "system"]. The keys are: ' + ", ".join(known) + ".",
        )
    values = _checked(values, str(path))
    uri = values.get("model_uri")
    if isinstance(uri, str) and uri.startswith((".", "~")):
        try:
            # Nobody knows in which folder the binary will be started; what lies beside it is named from there.
            values["model_uri"] = str(path.parent / Path(uri).expanduser())
        except RuntimeError as error:  # the ~ of a user without a home
            raise ConfigError("Setting not usable", f"{path}: model_uri: {error}.", "Write the whole path.") from error
    if "system" in locked:  # another way to the same
        locked = [*locked, "persona"]
    return values, frozenset(locked)


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.exists() or path == Path(os.devnull):
            return {}
        import tomllib  # most people have no file, and need not wait for its reader

        return tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise ConfigError(
            "Settings file is not TOML", f"{path}: {error}.", "Mend the line, or rename the file."
        ) from error
    except OSError as error:
        raise ConfigError("Settings file cannot be read", f"{path}: {error.strerror or error}.") from error


def _checked(values: dict[str, Any], place: str, *, strict: bool = True) -> dict[str, Any]:
    """The same values with their right types; `strict=False` reads numbers from text."""
    try:
        config = msgspec.convert(values, Config, strict=strict)
    except msgspec.ValidationError as error:
        known = ", ".join(Config.__struct_fields__)
        raise ConfigError("Setting not usable", f"{place}: {_plain(error)}.", f"The keys are: {known}.") from error
    return {key: getattr(config, key) for key in values}


def _plain(error: msgspec.ValidationError) -> str:
    """What is wrong with which key; the library's own words where no key is to be seen in them."""
    words, _, key = str(error).partition(" - at `$.")
    key = key.partition("`")[0].partition("[")[0]
    return f"{key} is to be {WORDS[key].wanted}" if key in WORDS else words
