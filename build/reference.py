"""The page of settings and keys, `assets/docs/settings.md`: its tables are written from the program itself.

    uv run python build/reference.py [--check]

What stands outside of the marked places is written by hand and left alone. `--check` writes nothing and fails when the
page does not say what the program does.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from edgechat.cli.commands import cli
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import PREFIX
from edgechat.settings.schema import Config, permitted
from edgechat.tui.keys import GROUPS, entries, key_words

PAGE = Path(__file__).resolve().parent.parent / "assets" / "docs" / "settings.md"
_PLACE = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write the page or check it; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    asked = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    now = page(before)
    if asked.check:
        if now != before:
            sys.stderr.write(f"{PAGE.name} is out of date: run `uv run python build/reference.py`\n")
        return int(now != before)
    PAGE.write_text(now, encoding="utf-8")
    return 0


def page(text: str) -> str:
    """The page with its tables as they are to be."""
    tables = {"settings": settings, "keys": keys}
    return _PLACE.sub(lambda place: place[1] + "".join(f"{line}\n" for line in tables[place[2]]()) + place[3], text)


def settings() -> Iterator[str]:
    """A table for each group of settings."""
    flags = _flags()
    defaults: dict[str, Any] = msgspec.structs.asdict(Config())
    for group in dict.fromkeys(words.group for words in WORDS.values()):
        yield f"\n**{group}**\n"
        yield "| key | what it does | may be | default | flag |"
        yield "| --- | --- | --- | --- | --- |"
        for key, words in WORDS.items():
            if words.group == group:
                default = words.unset if defaults[key] is None else _shown(defaults[key])
                cells = (f"`{key}`", words.about, str(permitted(key)), default, flags.get(key, ""))
                yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def keys() -> Iterator[str]:
    """A table for each group of keys."""
    for name, title in GROUPS.items():
        found = [entry for entry in entries() if entry.id.partition(".")[0] == name]
        if found:
            yield f"\n**{title}**\n"
            yield "| id | keys | what it does |"
            yield "| --- | --- | --- |"
            for entry in found:
                shown = key_words(entry.keys, 0).replace("|", "\\|").replace("`", "\\`")
                yield f"| `{entry.id}` | {shown} | {entry.about} |"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value in ("", {}) else f"`{value}`"


def _flags() -> dict[str, str]:
    """The flag of `edgechat` or `edgechat ask` for a setting, by its key."""
    commands = [cli, cli.get_command(click.Context(cli), "ask")]
    return {
        str(option.name): f"`{max(option.opts, key=len)}`"
        for command in commands
        if command is not None
        for option in command.params
        if isinstance(option, click.Option) and option.name in Config.__struct_fields__
    }


assert PREFIX == "EDGECHAT_", "the page says so in words"

if __name__ == "__main__":
    raise SystemExit(main())
