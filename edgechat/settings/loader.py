"""Loads settings: each comes from a flag, else the environment, else a TOML file, else its default.

There are two files: the user's `config.toml` in edgechat's config folder, and before it the device's `edgechat.toml`
next to a packaged binary, which may also lock keys. Every value is validated when read; errors name the key and where
it came from. This module never writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular
from edgechat.settings.schema import Config, permitted

PREFIX = "EDGECHAT_"
DEVICE_FILE = "edgechat.toml"
LARGEST_FILE = 1_000_000
"""Maximum bytes of a settings file."""

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
    if key not in Config.__struct_fields__:
        return words
    return Sentence("{key} is to be {permitted}", key=key, permitted=permitted(key))
