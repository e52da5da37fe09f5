"""`edgechat personas`, `--persona` and `edgechat keys`, as the program is called."""

from __future__ import annotations

import json

import pytest

from edgechat.cli.main import run
from edgechat.errors import ExitCode
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from edgechat.settings.loader import config_path
from edgechat.settings.personas import find, folder


def test_the_list_and_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["personas"]) == ExitCode.OK
    assert "checklist       Checklist writer\n" in capsys.readouterr().out
    assert run(["personas", "Checklist writer"]) == ExitCode.OK
    assert capsys.readouterr().out == find("checklist").text + "\n"


def test_files_that_are_none_are_told_beside_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    folder().mkdir(parents=True)
    (folder() / "bad.md").write_text("no title")
    (folder() / "cook.md").write_text("# Cook\nCook.")
    assert run(["personas"]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert "Cook  (yours)" in shown.out
    assert "bad.md: the first line is not" in shown.err


@pytest.mark.model
@pytest.mark.usefixtures("home_with_model")
def test_a_question_to_a_persona(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "--persona", "summary", "--max-tokens", "4", "Hello"]) == ExitCode.OK
    store = HistoryStore.open(paths.history_path())
    chat = store.latest()
    store.close()
    assert chat is not None
    assert chat.system == find("summary").text
    assert run(["--persona", "nobody", "ask", "Hello"]) == ExitCode.USAGE
    assert "There is no persona 'nobody'" in capsys.readouterr().err


def test_the_keys_with_those_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text('[keys]\n"chat.new" = "ctrl+l, Alt+N"\n')
    assert run(["keys"]) == ExitCode.OK
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("chat.new "))
    assert "Ctrl+L, Alt+N" in line
    assert "Begin a new chat" in line
    assert run(["keys", "--json"]) == ExitCode.OK
    listed = json.loads(capsys.readouterr().out)
    assert {"id": "chat.new", "keys": ["ctrl+l", "alt+n"], "about": "Begin a new chat; this one stays saved"} in listed
    config_path().write_text('[keys]\n"chat.nwe" = "f7"\n')
    assert run(["keys"]) == ExitCode.USAGE
    assert "Did you mean chat.new?" in capsys.readouterr().err
