"""The pages of documentation: links lead somewhere, commands exist, and tables say what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgechat.cli.commands import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("assets/**/*.md"),
        *ROOT.glob("build/**/*.md"),
        *ROOT.glob("tests/*.md"),
    )
)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name after the `#`, as GitHub makes it of the headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def calls(page: Path) -> Iterator[list[str]]:
    """The words after `edgechat` in each of the page's shell lines that call it."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for found in re.finditer(r"(?:^|&& |\| |do |uv run )edgechat( [^|;&#<>)]*)?", line):
                yield shlex.split(found[1] or "")


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in calls(page):
        command: click.Command = cli
        options = options_of(cli)
        for word in words:
            if word.startswith("-"):
                name = word.partition("=")[0]
                assert name in options or name in ("-h", "--help"), f"{word} of {words}"
            elif isinstance(command, click.Group):
                found = command.get_command(click.Context(command), word)
                if found is not None:
                    command = found
                    options = options_of(command)


def test_the_page_of_settings_says_what_the_program_does() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "build" / "reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
