"""Saves changes to the user's settings file, leaving everything else in it alone.

Comments, order, blank lines and unknown lines are preserved. The file is replaced atomically: a full disk or a power
cut leaves the old one. Nothing here validates settings; values come validated from `loader`.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgechat.errors import ConfigError, StorageError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import LARGEST_FILE, config_path, device_path, load_settings
from edgechat.settings.schema import Config

HEADER = (
    "# Settings of edgechat. A line without the # before it is in force. Ctrl+S in the chat changes them as well.\n"
)


def save(changes: Mapping[str, Any]) -> Path:
    """Save settings to the user's file, creating it if missing.

    Args:
        changes: Values by key, as in `loader.Config`; None removes a key.

    Returns:
        The file.

    Raises:
        ConfigError: The file is not TOML, or the device locks a key.
        StorageError: The file cannot be read or written; the old one is unchanged.
    """
    locked = load_settings().locked
    for key in changes:
        if key in locked:
            raise ConfigError(
                "Setting is locked",
                Sentence("{device_path} locks {key} on this device.", device_path=device_path(), key=key),
                "",
            )
    path = config_path().resolve()  # replaces the target of a link, not the link
    try:
        text = read_regular(path, LARGEST_FILE).decode("utf-8")
    except FileNotFoundError:
        text = template()
    except (OSError, ValueError) as error:
        raise _write_error(path, error) from error
    for key, value in changes.items():
        text = with_setting(text, key, value)
    paths.make_private(path.parent)
    try:
        _replace(path, text)
    except OSError as error:
        raise _write_error(path, error) from error
    return path


def template() -> str:
    """Return a file that explains every setting and sets none."""
    lines = [HEADER]
    group = ""
    for key, words in WORDS.items():
        if key not in Config.__struct_fields__ or key == "keys":
            continue
        if words.group != group:
            group = words.group
            lines.append(f"\n# {group}\n")
        lines.append(_line(key))
    lines.append('\n[keys]\n# "chat.new" = "ctrl+n,f7"  # `edgechat keys` lists what can be named here\n')
    return "".join(lines)


def with_setting(text: str, key: str, value: Any) -> str:
    """Return the text of a file with one setting changed.

    Args:
        text: TOML.
        key: The setting.
        value: Its value; None removes it.

    Raises:
        ConfigError: The text is not TOML.
    """
    import tomlkit  # slow, and only needed for saving
    from tomlkit.exceptions import TOMLKitError

    try:
        before = tomllib.loads(text)
        tomlkit.parse(text)
    except (ValueError, TOMLKitError) as error:
        raise ConfigError(
            "Settings file is not TOML",
            Sentence("{config_path}: {error}.", config_path=config_path(), error=error),
            "Mend the line, or rename the file.",
        ) from error
    after = {name: old for name, old in before.items() if name != key}
    if value is not None:
        after[key] = value
    if before == after:
        return text
    if value is not None and key not in before:
        text = _toggle(text, key, rf"#[ \t]*({key}[ \t]*=)", r"\1") or text
    elif value is None and (without := _toggle(text, key, rf"({key}[ \t]*=)", r"# \1")):
        return without
    document = tomlkit.parse(text)
    if value is None:
        document.remove(key)
    elif isinstance(value, dict) and isinstance(before.get(key), dict):
        table = document[key]
        assert isinstance(table, dict)
        for name in before[key].keys() - value.keys():
            del table[name]
        table.update({name: new for name, new in value.items() if before[key].get(name) != new})
    elif key in document:
        document[key] = value
    else:
        item = tomlkit.item(value)
        if not isinstance(value, dict):
            item.comment(WORDS[key].about)
        document.add(key, item)
    written = tomlkit.dumps(document)
    return re.sub(r"(?<!\r)\n", "\r\n", written) if "\r\n" in text else written


def _toggle(text: str, key: str, pattern: str, replacement: str) -> str | None:
    """Comment a key's line in or out; None if no line does exactly that.

    If the file has a line that explains the setting, that line keeps its place and text.
    """
    before = tomllib.loads(text)
    for found in re.finditer(rf"(?m)^{pattern}", text):
        tried = text[: found.start()] + found.expand(replacement) + text[found.end() :]
        with suppress(ValueError):
            after = tomllib.loads(tried)
            if before.keys() ^ after.keys() == {key} and before | after == after | before:
                return tried
    return None


def _line(key: str) -> str:
    """Return the line that would set a key, with its explanation."""
    import tomlkit

    words = WORDS[key]
    default = getattr(Config(), key)
    value = tomlkit.item(words.example if default is None else default).as_string()
    about = f"{words.about}; not set: {words.unset}" if words.unset else words.about
    return f"{f'# {key} = {value}'.ljust(31)} # {about}\n"


def _replace(path: Path, text: str) -> None:
    """Replace the file atomically."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable only by its owner
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # preserve the permissions set by its owner
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_error(path: Path, error: Exception) -> StorageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return StorageError(
        "Settings cannot be saved",
        Sentence("{path}: {reason}. The file is as it was.", path=path, reason=reason or error),
        "Free some space, or make the folder writable.",
    )
