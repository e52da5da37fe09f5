"""Loads settings: each comes from a flag, else the environment, else a TOML file, else its default.

There are two files: the user's `config.toml` in edgechat's config folder, and before it the device's `edgechat.toml`
    next
to a packaged binary, which may also lock keys. Every value is validated when read; errors name the key and where it
came from. This module never writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.logs import Level
from edgechat.runtime.regular_files import read_regular
from edgechat.settings.descriptions import WORDS

PREFIX = "EDGECHAT_"
DEVICE_FILE = "edgechat.toml"
LARGEST_FILE = 1_000_000
"""Maximum bytes of a settings file."""

# The sampling defaults suit the small models edgechat is made for: low enough a temperature to stay on topic, with a
# light penalty against the loops that quantised models of a few hundred million parameters fall into.
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
    """The effective settings.

    Attributes:
        model_uri: Model to open: a path or the name of an installed model; None is the default model.
        system: System message for new chats; empty leaves it to the model's own template.
        persona: Name of a stored system message that replaces `system`; None for none.
        temperature: 0 is greedy.
        top_p: Nucleus sampling.
        top_k: Sample from this many of the likeliest tokens.
        repetition_penalty: 1 means none.
        seed: Makes sampling repeatable.
        max_tokens: Maximum length of a reply; None means up to the end of the context.
        context: Context window in tokens; None uses what the model and the free memory allow.
        context_policy: What happens when a chat no longer fits: "ask" stops and asks, "oldest" leaves out its oldest
            turns, "summarise" has the model summarise those. The stored chat is never changed.
        cache_memory: Megabytes for KV caches of recent chats other than the current one; None is a quarter of the free
            memory, at most 1,024.
        threads: Compute threads; None is one per physical core.
        spinning: Whether idle compute threads spin: faster on an idle machine, slower on a busy one.
        history: Whether chats are stored; False discards them when the program ends.
        plain: Whether to use the line-based chat; None does so if the terminal supports nothing else.
        theme: Name of the colour theme; None follows the terminal's background if known, else dark.
        language: Language code of the interface, such as "he"; None is the system's language.
        bidi: Who orders right-to-left text on the screen: "app" is edgechat, "terminal" leaves it to the terminal,
            "off" neither orders nor aligns it, "auto" depends on the terminal.
        reduced_motion: Whether the interface omits animations.
        log_level: Verbosity of the log, which contains no chat text at any level.
        keys: Key bindings by action id, as in "chat.new" = "ctrl+n,f7".
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
"""Where a setting comes from; "file" is the user's, "device" the one next to the binary."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings and their sources.

    Attributes:
        config: Their values.
        sources: By key, for all keys without their default value.
        locked: Keys that only the device's file may set.
    """

    config: Config = field(default_factory=Config)
    sources: Mapping[str, Source] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()

    def source(self, key: str) -> Source:
        """Return where a setting comes from."""
        return self.sources.get(key, "default")


def config_path() -> Path:
    """Return the TOML file, which may not exist."""
    return paths.config_dir() / "config.toml"


def device_path() -> Path | None:
    """Return the device's settings file next to the packaged binary; None if there is none.

    In a world-writable folder, a file owned by someone else is ignored: it has to belong to the system, to this user,
    or to the binary's owner.

    Raises:
        ConfigError: It cannot be accessed.
        StorageError: A folder above it is controlled by others, who could replace it.
    """
    for folder in paths.adjacent_folders():
        path = folder / DEVICE_FILE
        try:
            owner = path.stat().st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(
                "Settings file cannot be read",
                Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error),
            ) from error
        if os.name != "posix" or owner in {0, os.getuid(), *paths.owners()}:
            paths.require_trusted_adjacent(path)
            return path
    return None


def load_config(**flags: Any) -> Config:
    """Return the values from `load_settings`."""
    return load_settings(**flags).config


def load_settings(**flags: Any) -> Settings:
    """Load the settings.

    A key locked by the device's file has that file's value, or the default: the user's file and variables are ignored,
    since they may predate the lock, and a flag is an error, since whoever gave it expects an effect.

    Args:
        **flags: Values from the command line by key; None means that the flag was not given.

    Raises:
        ConfigError: A file cannot be read or is not TOML, a key is unknown or locked, or a value is invalid; the
            message names the file, variable or flag.
    """
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    locked: frozenset[str] = frozenset()

    def apply(found: Mapping[str, Any], source: Source) -> None:
        values.update(found)
        sources.update(dict.fromkeys(found, source))

    device = device_path()
    if device is not None:
        found, locked = _device(device)
        apply(found, "device")
    path = config_path()
    users = _checked(_read(path), str(path))
    apply({key: value for key, value in users.items() if key not in locked}, "file")
    for key in Config.__struct_fields__:
        variable = PREFIX + key.upper()
        text = os.environ.get(variable)
        if text and key not in locked and key != "keys":
            apply(_checked({key: text}, f"The variable {variable}", strict=False), "environment")
    for key, value in flags.items():
        if value is not None:
            flag = "--" + key.replace("_", "-")
            if key in locked:
                raise ConfigError(
                    "Setting is locked",
                    Sentence(
                        "The flag {flag} would change {key}, which {device} locks on this device.",
                        flag=flag,
                        key=key,
                        device=device,
                    ),
                    "Leave the flag out.",
                )
            apply(_checked({key: value}, f"The flag {flag}"), "flag")
    return Settings(Config(**values), sources, locked)


def check_value(key: str, text: str) -> Any:
    """Parse a value written in a variable or typed by the user.

    Raises:
        ConfigError: It is invalid; the message says why.
    """
    try:
        return getattr(msgspec.convert({key: text}, Config, strict=False), key)
    except msgspec.ValidationError as error:
        raise ConfigError("Setting not usable", _plain(error)) from error


def in_bounds(key: str, value: Any) -> bool:
    """Whether a value is valid for a setting."""
    try:
        msgspec.convert({key: value}, Config)
    except msgspec.ValidationError:
        return False
    return True


def _device(path: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the values of the device's file and the keys it locks."""
    values = _read(path)
    locked = values.pop("locked", [])
    known = Config.__struct_fields__
    if not isinstance(locked, list) or not all(key in known for key in locked):
        raise ConfigError(
            "Setting not usable",
            Sentence("{path}: locked is to be a list of keys.", path=path),
            Sentence('As in: locked = ["model_uri", "system"]. The keys are: {known}.', known=", ".join(known)),
        )
    values = _checked(values, str(path))
    uri = values.get("model_uri")
    if isinstance(uri, str) and uri.startswith((".", "~")):
        try:
            # The binary can be started in any folder, so relative paths are resolved from its own.
            values["model_uri"] = str(path.parent / Path(uri).expanduser())
        except RuntimeError as error:  # ~ of a user without a home
            raise ConfigError(
                "Setting not usable",
                Sentence("{path}: model_uri: {error}.", path=path, error=error),
                "Write the whole path.",
            ) from error
    if "system" in locked:  # a persona would bypass it
        locked = [*locked, "persona"]
    return values, frozenset(locked)


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.exists() or path == Path(os.devnull):
            return {}
        import tomllib  # most users have no file and need not wait for the import

        return tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise ConfigError(
            "Settings file is not TOML",
            Sentence("{path}: {error}.", path=path, error=error),
            "Mend the line, or rename the file.",
        ) from error
    except OSError as error:
        raise ConfigError(
            "Settings file cannot be read", Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error)
        ) from error


def _checked(values: dict[str, Any], place: str, *, strict: bool = True) -> dict[str, Any]:
    """Validate the values and return them with their types; `strict=False` parses numbers from text."""
    try:
        config = msgspec.convert(values, Config, strict=strict)
    except msgspec.ValidationError as error:
        known = ", ".join(Config.__struct_fields__)
        raise ConfigError(
            "Setting not usable",
            Sentence("{place}: {plain}.", place=place, plain=_plain(error)),
            Sentence("The keys are: {known}.", known=known),
        ) from error
    return {key: getattr(config, key) for key in values}


def _plain(error: msgspec.ValidationError) -> str:
    """Explain which key is wrong and why; falls back to the library's message if it names no key."""
    words, _, key = str(error).partition(" - at `$.")
    key = key.partition("`")[0].partition("[")[0]
    return f"{key} is to be {WORDS[key].wanted}" if key in WORDS else words
