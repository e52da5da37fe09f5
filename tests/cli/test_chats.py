"""`edgechat chats`: its answers, its exit codes, and what it does not let through to a terminal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgechat.chat.conversation import ChatSettings, ReplyState
from edgechat.cli import main
from edgechat.cli.chats import chats
from edgechat.errors import ExitCode, StorageError
from edgechat.history.backup import back_up
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from edgechat.runtime.paths import own_command
from tests.support.chats import chat
from tests.support.terminal import needs_tmux


def run(*arguments: str, typed: str | None = None) -> Result:
    """Run the command; errors are raised as they reach `edgechat.cli.main`."""
    result = CliRunner().invoke(chats, arguments, input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def store(own_home: object) -> Iterator[HistoryStore]:
    store = HistoryStore.open(paths.history_path())
    yield store
    store.close()


def chat_of(store: HistoryStore, question: str, answer: str) -> str:
    made = store.create_conversation().id
    turn = store.add_turn(made, None, question)
    store.close_reply(store.add_reply(turn.id, "phi").id, ReplyState.COMPLETE, text=answer)
    return str(made)


@pytest.fixture
def lighthouse(store: HistoryStore) -> str:
    return chat_of(store, "Tell me of a lighthouse.", "A keeper lived in it.")


def listed(*arguments: str) -> list[str]:
    return [str(item["id"]) for item in json.loads(run("list", "--json", *arguments).stdout)]


def test_every_command_has_a_help_with_an_end() -> None:
    for name, command in chats.commands.items():
        assert command.get_short_help_str(limit=200), name
        assert run(name, "--help").exit_code == 0


def test_an_empty_history_is_told(own_home: object) -> None:
    for arguments in (("list",), ("list", "--archived"), ("search", "x")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr


def test_list_pin_and_archive(store: HistoryStore, lighthouse: str) -> None:
    other = chat_of(store, "Another", "one")
    assert listed() == [other, lighthouse]
    run("pin", lighthouse)
    assert listed() == [lighthouse, other]
    assert "*     1" in run("list").stdout
    assert "Tell me of a lighthouse." in run("list").stdout
    run("archive", lighthouse, other)
    assert (listed(), listed("--archived")) == ([], [lighthouse, other])
    run("unarchive", lighthouse, other)
    run("unpin", lighthouse)
    assert listed() == [other, lighthouse]
    assert listed("--limit", "1") == [other]


def test_show(lighthouse: str) -> None:
    shown = run("show", lighthouse).stdout
    assert (
        shown == "# Tell me of a lighthouse.\n\n1. You:\n\nTell me of a lighthouse.\n\nphi:\n\nA keeper lived in it.\n"
    )
    data = json.loads(run("show", lighthouse, "--json").stdout)
    assert data["turns"][0]["replies"][0]["text"] == "A keeper lived in it."


def test_search(store: HistoryStore, lighthouse: str) -> None:
    chat_of(store, "Another", "one")
    shown = run("search", "keeper", "lived").stdout
    assert "reply: A keeper lived in it." in shown
    assert "Tell me of a lighthouse." in shown
    [hit] = json.loads(run("search", "LIGHT", "--json").stdout)
    assert (hit["conversation"], hit["reply"], hit["matches"]) == (int(lighthouse), None, [[13, 18]])
    assert run("search", 'a" OR NEAR(').stdout == ""


def test_nothing_said_reaches_a_terminal_as_a_command(store: HistoryStore) -> None:
    hostile = "wombat \x1b[31m\x9b2J\x1b]0;title\x07 \u202eevil"
    made = chat_of(store, hostile, hostile)
    for arguments in (("list",), ("search", "wombat")):
        assert "wombat" in run(*arguments).stdout
        assert not set("\x1b\x9b\x07\u202e") & set(run(*arguments).stdout)
    assert hostile in run("show", made).stdout  # into a file, exactly


def test_rename_and_duplicate(store: HistoryStore, lighthouse: str) -> None:
    run("rename", lighthouse, " The\nkeeper ")
    assert store.conversation(int(lighthouse)).title == "The keeper"
    copy = run("duplicate", lighthouse).stdout.strip()
    assert store.conversation(int(copy)).title == "The keeper (copy)"
    named = run("duplicate", lighthouse, "--title", "Mine").stdout.strip()
    assert store.conversation(int(named)).title == "Mine"
    assert run("rename", lighthouse, "  ").exit_code == ExitCode.USAGE


def test_settings_of_a_chat(store: HistoryStore, lighthouse: str) -> None:
    run("set", lighthouse, "--system", "Be brief.", "--temperature", "0")
    run("set", lighthouse, "--max-tokens", "5")
    found = store.conversation(int(lighthouse))
    assert (found.system, found.settings) == ("Be brief.", ChatSettings(temperature=0.0, max_tokens=5))
    run("set", lighthouse, "--defaults", "--seed", "3")
    found = store.conversation(int(lighthouse))
    assert (found.system, found.settings) == ("Be brief.", ChatSettings(seed=3))


def test_deleting_asks_and_can_be_undone(lighthouse: str) -> None:
    assert run("delete", lighthouse, typed="n\n").exit_code == ExitCode.ERROR
    with pytest.raises(StorageError, match="Not deleted"):
        run("delete", lighthouse, typed="")
    assert listed() == [lighthouse]
    told = run("delete", lighthouse, typed="y\n").stderr
    assert f"undelete {lighthouse}" in told
    assert listed() == []
    run("undelete", lighthouse)
    assert listed() == [lighthouse]


def test_one_unknown_chat_keeps_all_from_being_deleted(lighthouse: str) -> None:
    with pytest.raises(StorageError, match="No such chat"):
        run("delete", lighthouse, "99", "--yes")
    assert listed() == [lighthouse]


def test_purged_chats_are_gone(lighthouse: str) -> None:
    run("delete", lighthouse, "--yes")
    assert run("purge", typed="n\n").exit_code == ExitCode.ERROR
    assert "purged 1 chat" in run("purge", "--yes").stderr
    with pytest.raises(StorageError, match="No such chat"):
        run("undelete", lighthouse)


def rated(chat: str) -> list[tuple[int, str]]:
    turns = json.loads(run("show", chat, "--json").stdout)["turns"]
    return [(reply["rating"], reply["note"]) for turn in turns for reply in turn["replies"]]


def test_feedback_is_given_shown_and_taken_back(store: HistoryStore, lighthouse: str) -> None:
    turn = store.conversation(int(lighthouse)).turns[0]
    other = store.add_reply(turn.id, "phi").id
    run("rate", lighthouse, "--up", "--note", " Short. ")
    assert rated(lighthouse) == [(0, ""), (1, "Short.")], "the one that is shown"
    assert "phi (2 of 2) [streaming] [good]:" in run("show", lighthouse).stdout
    assert run("show", lighthouse).stdout.endswith("\nNote: Short.\n")
    run("rate", lighthouse, "--reply-id", str(other - 1), "--down")
    run("rate", lighthouse, "--reply", "1", "--none")
    assert rated(lighthouse) == [(-1, ""), (0, "Short.")]
    run("rate", lighthouse, "--note", "")
    assert rated(lighthouse) == [(-1, ""), (0, "")]
    page = run("export", lighthouse, "--format", "markdown").stdout
    assert "> Feedback" not in page, "of the reply that is shown"
    run("rate", lighthouse, "--down", "--note", "Too\n* short")
    assert "> Feedback: bad. Too \\* short\n" in run("export", lighthouse, "--format", "markdown").stdout


@pytest.mark.parametrize("arguments", [(), ("--reply", "1", "--reply-id", "1", "--up")])
def test_feedback_needs_one_reply_and_something_to_say(lighthouse: str, arguments: tuple[str, ...]) -> None:
    assert run("rate", lighthouse, *arguments).exit_code == ExitCode.USAGE


def test_feedback_on_a_reply_of_another_chat_is_refused(store: HistoryStore, lighthouse: str) -> None:
    other = chat_of(store, "Another", "one")
    theirs = store.conversation(int(other)).turns[0].replies[0].id
    for which in (("--reply-id", str(theirs)), ("--reply", "2"), ("--reply-id", "99")):
        with pytest.raises(StorageError):
            run("rate", lighthouse, *which, "--up")
    assert rated(other) == [(0, "")]


def test_a_message_is_pinned_by_its_number(lighthouse: str) -> None:
    run("pin-turn", lighthouse, "1")
    assert "1. You [pinned]:" in run("show", lighthouse).stdout
    run("pin-turn", lighthouse, "1", "--off")
    assert "1. You:" in run("show", lighthouse).stdout
    with pytest.raises(StorageError):
        run("pin-turn", lighthouse, "2")


@pytest.mark.parametrize("name", ["show", "pin", "archive", "undelete", "duplicate", "set"])
def test_an_unknown_chat_is_an_error(own_home: object, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["chats", name, "7"]) == ExitCode.STORAGE
    told = capsys.readouterr()
    assert "no chat 7" in told.err
    assert told.out == ""


def test_a_damaged_history_is_set_aside_and_told(lighthouse: str, store: HistoryStore) -> None:
    back_up(paths.history_path())
    store.close()
    paths.history_path().write_bytes(b"nonsense")
    result = run("list")
    assert "Tell me of a lighthouse." in result.stdout
    assert "set aside" in result.stderr


def test_the_demo_leaves_the_history_alone(lighthouse: str, store: HistoryStore, own_home: Path) -> None:
    ended = subprocess.run(
        own_command("--demo", "--plain"), input="Not a chat of mine\n", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "not kept" in ended.stderr
    assert [chat.title for chat in store.list_conversations()] == ["Tell me of a lighthouse."]
    assert main.run(["--demo", "--plain", "--chat", lighthouse]) == ExitCode.USAGE


@needs_tmux
def test_a_chat_that_is_not_there_is_told(own_home: Path) -> None:
    with chat(own_home, "--chat", "99") as terminal:
        terminal.wait_for("no chat 99")
        terminal.wait_for(f"exit code {int(ExitCode.STORAGE)}")


def test_chat_and_continue_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--continue", "--chat", "1"]) == ExitCode.USAGE
    assert main.run(["--chat", "1", "ask", "x"]) == ExitCode.USAGE
    assert "--chat goes without a command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--repetition-penalty", "9"),
        ("--repetition-penalty", "0"),
        ("--temperature", "2.1"),
        ("--temperature", "nan"),
        ("--top-p", "0"),
        ("--seed", "-1"),
        ("--seed", str(2**31)),
        ("--max-tokens", "0"),
    ],
)
def test_a_chat_may_have_what_the_settings_may_have(
    lighthouse: str, store: HistoryStore, flag: str, value: str
) -> None:
    refused = CliRunner().invoke(chats, ["set", lighthouse, flag, value])
    assert refused.exit_code == ExitCode.USAGE
    assert "is to be" in refused.stderr
    assert store.conversation(int(lighthouse)).settings == ChatSettings()


def test_imported_settings_out_of_range_are_left_out(own_home: Path, tmp_path: Path) -> None:
    settings = {"temperature": -3.0, "top_p": 7.0, "repetition_penalty": 9.0, "seed": -5, "max_tokens": 40}
    chat = {"title": "x", "created": 1.0, "updated": 1.0, "settings": settings}
    file = tmp_path / "chats.json"
    file.write_text(json.dumps({"format": "edgechat-chats", "version": 1, "chats": [chat]}))
    result = run("import", str(file))
    assert "'seed' are out of range and were left out" in result.stderr
    again = HistoryStore.open(paths.history_path())
    assert again.conversation(1).settings == ChatSettings(max_tokens=40)
    again.close()


def test_a_question_that_could_not_be_asked_leaves_no_chat(own_home: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    for model in (tmp_path / "broken", tmp_path / "none"):
        ended = subprocess.run(
            own_command("ask", "--model-uri", str(model), "hi"), capture_output=True, text=True, check=False
        )
        assert ended.returncode == ExitCode.MODEL, ended.stderr
    assert json.loads(run("list", "--json").stdout) == []
