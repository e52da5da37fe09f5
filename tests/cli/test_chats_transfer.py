"""`edgechat chats export` and `import`: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgechat.chat.conversation import ReplyState
from edgechat.cli.chats_transfer import export_chats, import_chats
from edgechat.errors import StorageError, TransferError
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from tests.support.chats import last_chat


def export(*arguments: str) -> Result:
    return _run(CliRunner().invoke(export_chats, arguments))


def import_(*arguments: str, typed: bytes | None = None) -> Result:
    return _run(CliRunner().invoke(import_chats, arguments, input=typed))


def _run(result: Result) -> Result:
    """Errors are raised as they reach `edgechat.cli.main`."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def chat(question: str, answer: str = "") -> int:
    """A chat of one turn in this test's own history."""
    store = HistoryStore.open(paths.history_path())
    made = store.create_conversation(system="Be brief.")
    turn = store.add_turn(made.id, None, question)
    store.close_reply(store.add_reply(turn.id, "phi").id, ReplyState.COMPLETE, text=answer)
    store.close()
    return made.id


def move(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Go on as on another device."""
    monkeypatch.setenv("EDGECHAT_HOME", str(home))


def test_carried_to_another_device_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat("Which valve?", "The red one.")
    chat("And then?", "Wait.")
    file = tmp_path / "chats.json"
    assert export("--out", str(file)).stdout == ""
    assert file.stat().st_mode & 0o777 == 0o600
    move(monkeypatch, tmp_path / "other")
    dry = import_(str(file), "--dry-run")
    assert dry.stdout == "would import 2 chats with 2 turns and 2 replies\n"
    assert last_chat().id == 0
    assert import_(str(file)).stdout == "imported 2 chats with 2 turns and 2 replies\n"
    assert last_chat().messages()[-1].content == "Wait."
    assert export().stdout == file.read_text("utf-8")
    told = import_("-", typed=file.read_bytes()).stdout
    assert told == "imported 0 chats with 0 turns and 0 replies; 2 chats there already\n"


def test_some_chats_in_the_order_asked_for() -> None:
    first, second = chat("One"), chat("Two")
    shown = json.loads(export(str(second), str(first), str(second)).stdout)
    assert [each["title"] for each in shown["chats"]] == ["Two", "One"]
    (line,) = export("--format", "openai", str(first)).stdout.splitlines()
    assert json.loads(line) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"}]
    }
    assert export("--format", "markdown", str(first)).stdout.startswith("# One\n")
    assert export("--format", "phi3", str(first)).stdout == "<|system|>\nBe brief.<|end|>\n<|user|>\nOne<|end|>\n"


def test_an_unknown_chat_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    id_ = chat("One")
    with pytest.raises(StorageError, match="no chat 99"):
        export(str(id_), "99")
    kept = tmp_path / "kept.json"
    kept.write_text("before")
    with pytest.raises(StorageError, match="no chat 99"):
        export("99", "--out", str(kept))
    assert kept.read_text() == "before"
    with pytest.raises(StorageError, match="cannot be written"):
        export("--out", str(tmp_path / "none" / "chats.json"))
    with pytest.raises(StorageError, match="directory"):
        export("--out", str(tmp_path))
    export("--out", "/dev/null")
    assert Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.glob("*.json*")] == ["kept.json"]


def test_the_schema_is_a_json_schema() -> None:
    schema = json.loads(export("--schema").stdout)
    assert schema["$ref"] == "#/$defs/CarriedFile"
    assert "edgechat-chats" in json.dumps(schema)
    assert not paths.history_path().exists()


def test_what_is_left_out_is_told_and_nothing_of_it_obeyed(tmp_path: Path) -> None:
    node = {"message": {"author": {"role": "oracle\x1b[2J"}, "content": {"parts": ["x"]}}}
    file = tmp_path / "gpt.json"
    file.write_text(json.dumps([{"title": "\x1b]0;pwned\x07", "mapping": {"a": node}}]))
    result = import_(str(file))
    assert "edgechat: messages of an unknown role were left out (1)\n" in result.stderr
    for form in ("json", "markdown"):
        assert "\x1b" not in export("--format", form).stdout
    bad = tmp_path / "bad.json"
    bad.write_text('{"\x1b[31m": 1}')
    with pytest.raises(TransferError):
        import_(str(bad))


def test_as_a_person_runs_it(tmp_path: Path) -> None:
    """The real program: exit codes, streams, a pipe that closes early, and no file beside."""
    for n in range(30):
        chat(f"Question {n} " + "word " * 4000)
    folder = tmp_path / "working"
    folder.mkdir()

    def edgechat(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = paths.own_command("chats", *arguments)
        return subprocess.run(command, input=given, capture_output=True, check=False, cwd=folder, timeout=120)

    whole = edgechat("export")
    assert (whole.returncode, whole.stderr) == (0, b"")
    again = edgechat("import", "-", given=whole.stdout)
    assert (again.returncode, again.stderr) == (0, b"")
    assert b"30 chats there already" in again.stdout
    bad = edgechat("import", "-", given=whole.stdout[:-1000])
    assert (bad.returncode, bad.stdout) == (1, b"")
    assert b"standard input: At byte" in bad.stderr
    assert b"Next: " in bad.stderr
    assert b"Traceback" not in bad.stderr
    assert edgechat("export", "1000").returncode == 5
    assert edgechat("export", "--format", "xml").returncode == 2
    shell = f"{' '.join(paths.own_command('chats', 'export'))} | head -c 100 > /dev/null; echo ${{PIPESTATUS[0]}}"
    early = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, env=os.environ)
    assert (early.stdout, early.stderr) == ("1\n", "")
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_prompt_text_is_harmless(tmp_path: Path) -> None:
    import pty

    chat("\x1b]0;pwned\x07\x9b2J")
    ours, theirs = pty.openpty()
    command = paths.own_command("chats", "export", "--format", "phi3")
    subprocess.run(command, stdout=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "␛]0;pwned␇\ufffd2J" in shown
    assert "\x1b" not in shown
