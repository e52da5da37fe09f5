"""Slash commands: what is one, what it means, how it is completed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgechat.slash import commands, completion, files, is_command, message_of
from edgechat.slash.commands import COMMANDS, SlashError, parse
from edgechat.slash.completion import complete
from edgechat.slash.files import export_target
from edgechat.slash.handlers import _DOERS


def offered(line: str) -> list[str]:
    found = complete(line)
    return [line[: found.start] + item.text for item in found.items]


def test_the_commands_of_the_issue_are_there() -> None:
    wanted = "help model system set regen undo export search stats read prompt clear quit"
    assert all(commands.find(name) for name in wanted.split())


def test_every_command_is_done_and_told() -> None:
    assert {command.name for command in COMMANDS} == set(_DOERS)
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        assert command.help[0].isupper()
        assert not command.help.endswith(".")


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/help", "help", ""),
        ("/HELP  set ", "help", "set"),
        ("/system You are\na poet.", "system", "You are\na poet."),
        ("/system\nA poet.", "system", "A poet."),
        ("/clear", "new", ""),
        ("/q", "quit", ""),
    ],
)
def test_a_command_is_understood(text: str, name: str, argument: str) -> None:
    call = parse(text)
    assert (call.command.name, call.argument) == (name, argument)


def test_two_slashes_are_a_message_with_one() -> None:
    assert is_command("/x")
    assert not is_command("//x")
    assert not is_command("a /x")
    assert message_of("//usr/bin") == "/usr/bin"
    assert message_of("a // b") == "a // b"


@pytest.mark.parametrize(
    ("text", "words"), [("/rgen", "/regen"), ("/hlp me", "/help"), ("/zzzzzz", "/help"), ("/", "/help")]
)
def test_an_unknown_command_names_the_nearest(text: str, words: str) -> None:
    with pytest.raises(SlashError) as caught:
        parse(text)
    assert "no command" in caught.value.title
    assert words in caught.value.hint
    assert "//" in caught.value.hint


def test_arguments_that_are_missing_or_too_many() -> None:
    with pytest.raises(SlashError, match="/read needs more"):
        parse("/read ")
    with pytest.raises(SlashError, match="/regen takes nothing"):
        parse("/regen now")


def test_names_are_completed() -> None:
    assert offered("/und") == ["/undo"]
    assert offered("/re")[:2] == ["/read ", "/regen"]
    assert offered("/clea") == ["/new"]
    assert len(offered("/")) == len(COMMANDS)
    assert offered("help") == offered("//he") == offered("/he\nlp") == []


def test_settings_formats_ways_and_commands_are_completed() -> None:
    assert offered("/set temp") == ["/set temperature "]
    assert offered("/export j") == ["/export json "]
    assert offered("/persona tr") == ["/persona translator", "/persona troubleshooter"]
    assert offered("/full su") == ["/full summarise"]
    assert offered("/context-policy su") == ["/context-policy summarise"]
    assert offered("/help /rege") == ["/help regen"]
    assert offered("/set temperature 0") == offered("/nothing x") == offered("/rename x") == []


def test_files_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some folder").mkdir()
    for name in ("some notes.txt", ".hidden", "bad\nname"):
        (tmp_path / name).write_text("x")
    (tmp_path / "some folder" / "inner.md").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert offered("/read ") == ["/read some folder/", "/read some notes.txt"]
    assert offered("/read some n") == ["/read some notes.txt"]
    assert offered("/read some folder/") == ["/read some folder/inner.md"]
    assert offered(f"/read {tmp_path}/.h") == [f"/read {tmp_path}/.hidden"]
    assert offered("/read ~/some n") == ["/read ~/some notes.txt"]
    assert offered("/read absent/") == offered("/read ~nobody-of-that-name/") == []


def test_models_are_completed(home_with_model: Path) -> None:
    assert offered("/model smol") == ["/model smollm2-135m-instruct"]


def test_what_may_take_time_is_told() -> None:
    assert completion.is_quick("/re")
    assert completion.is_quick("/set t")
    assert not completion.is_quick("/read a")
    assert not completion.is_quick("/model a")


def test_the_form_and_file_of_an_export() -> None:
    assert export_target("") == ("markdown", None)
    assert export_target("json") == ("json", None)
    assert export_target("chat.jsonl") == ("openai", Path("chat.jsonl"))
    assert export_target("json my chat.txt") == ("json", Path("my chat.txt"))
    assert export_target("'my chat.json'") == ("json", Path("my chat.json"))
    assert export_target("notes") == ("markdown", Path("notes"))


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files cannot be limited there")
def test_an_export_that_finds_no_room_leaves_no_half(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "chat.md"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            files._write_new(path, "word " * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()
    files._write_new(path, "word " * 10_000)
    assert path.stat().st_size == 50_000


@pytest.mark.parametrize(("name", "alias"), [("context-policy", "full"), ("delete", "forget")])
def test_commands_go_by_their_old_names_too(name: str, alias: str) -> None:
    assert parse(f"/{alias}").command is parse(f"/{name}").command


def test_a_command_that_is_written_whole_is_offered_first() -> None:
    assert offered("/delete") == ["/delete", "/delete-message"]
    for command in COMMANDS:
        assert offered(f"/{command.name}")[0].rstrip() == f"/{command.name}"
