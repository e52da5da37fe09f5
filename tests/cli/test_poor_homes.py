"""Homes that cannot be written, are none, or lie on a disk without file locks: one can chat, and is told so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import own_command

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
ASK = ["ask", "--temperature", "0", "--max-tokens", "4", "Say yes."]

Run = Callable[..., subprocess.CompletedProcess[str]]


def start(
    arguments: Sequence[str], *, words: str = "", before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *own_command(*arguments)],
        input=words,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def read_only(home: Path) -> list[str]:
    """What starts a program for which a folder cannot be written, whoever runs it."""
    script = f'mount --bind "{home}" "{home}" && mount -o remount,ro,bind "{home}" && exec "$@"'
    before = ["unshare", "-m", "sh", "-c", script, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting is not allowed here")
    return before


@pytest.fixture(params=["read-only", "a file", "a missing drive"])
def poor(request: pytest.FixtureRequest, tmp_path: Path, default_model: Path) -> Run:
    """Runs edgechat with the real model in a home where nothing can be kept."""
    home = tmp_path / "poor"
    before: list[str] = []
    if request.param == "read-only":
        home.mkdir()
        before = read_only(home)
    elif request.param == "a file":
        home.write_text("x")
    else:
        home = Path("/proc/no drive/edgechat")

    def run(*arguments: str, words: str = "") -> subprocess.CompletedProcess[str]:
        return start(
            arguments, words=words, before=before, EDGECHAT_HOME=str(home), EDGECHAT_MODEL_URI=str(default_model)
        )

    return run


def test_one_can_chat_where_nothing_can_be_kept(poor: Run) -> None:
    for arguments in (["ask", "--no-history", *ASK[1:]], ASK):
        ended = poor(*arguments)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.strip()
        assert ("nothing of this chat is kept" in ended.stderr) == (arguments is ASK)
    ended = poor("--plain", words="Say yes.\n")
    assert (ended.returncode, "nothing of this chat is kept" in ended.stderr) == (0, True)
    assert ended.stdout.strip()


def test_what_needs_no_home_does_without_and_the_rest_says_why(poor: Run) -> None:
    for arguments, codes in (["personas"], {0, 2}), (["keys"], {0}), (["doctor"], {1}), (["chats", "list"], {5}):
        ended = poor(*arguments)
        assert ended.returncode in codes, (arguments, ended.stderr)
        assert "Traceback" not in ended.stderr
    assert "EDGECHAT_HOME" in poor("chats", "list").stderr
    # What was asked for cannot be had: that is an error, and no chat begins in its place.
    ended = poor("--plain", "--chat", "1", words="hi\n")
    assert ended.returncode == 5
    assert not ended.stdout


@pytest.fixture
def no_locks(tmp_path: Path) -> dict[str, str]:
    """Variables that let every lock fail, as on a network drive that has none."""
    source, library = CASES / "nolock.c", tmp_path / "nolock.so"
    if not source.is_file() or shutil.which("gcc") is None:
        pytest.skip("needs the library that refuses locks, and a compiler")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def test_a_home_without_locks_keeps_chats_and_says_so(home_with_model: Path, no_locks: dict[str, str]) -> None:
    ended = start(ASK, **no_locks)
    assert ended.returncode == 0, ended.stderr
    assert "no file locks" in ended.stderr
    assert "Another program" not in ended.stderr
    assert start(["ask", "--no-history", *ASK[1:]], **no_locks).returncode == 0
    listed = start(["chats", "list"], **no_locks)
    assert (listed.returncode, "Say yes." in listed.stdout) == (0, True)
    # The file is the same on a disk with locks, and goes back.
    assert "Say yes." in start(["chats", "list"]).stdout
    assert "Say yes." in start(["chats", "list"], **no_locks).stdout
    files = {file.name for file in (home_with_model / "data").iterdir()}
    assert files == {"history.db", "backups", "models"} - ({"backups"} if "backups" not in files else set())


WRITER = """
import os, sys, time
from pathlib import Path
from edgechat.history.store import HistoryStore
store = HistoryStore.open(Path(sys.argv[1]))
chat = store.create_conversation().id
store.add_turn(chat, None, "kept")
print("open", flush=True)
time.sleep(600)
"""


def test_without_locks_one_process_has_the_history_until_it_is_gone(own_home: Path, no_locks: dict[str, str]) -> None:
    path = own_home / "data" / "history.db"
    environment = {**os.environ, **no_locks}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        refused = start(["chats", "list"], **no_locks)
        assert refused.returncode == 5
        assert f"process {writer.pid}" in refused.stderr
        chat = start(["--plain"], words="", **no_locks)
        assert "nothing of this chat is kept" in chat.stderr
        writer.kill()
    listed = start(["chats", "list"], **no_locks)
    assert (listed.returncode, "kept" in listed.stdout) == (0, True), listed.stderr
    store = HistoryStore.open(path)
    assert len(store.list_conversations()) == 1
    store.close()


def test_a_history_opened_on_another_machine_is_left_to_it(own_home: Path, no_locks: dict[str, str]) -> None:
    assert start(["chats", "list"], **no_locks).returncode == 0
    lease = own_home / "data" / "history.db-open"
    lease.write_text("another-machine 1:2.0:3")
    refused = start(["chats", "list"], **no_locks)
    assert refused.returncode == 5
    assert "another-machine" in refused.stderr
    assert str(lease) in refused.stderr
    lease.unlink()  # as the hint says
    assert start(["chats", "list"], **no_locks).returncode == 0


WRITTEN = """
import os, sys
from edgechat.chat.conversation import ReplyState
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import history_path
store = HistoryStore.open(history_path())
chat = store.create_conversation(model="scripted")
for words in sys.argv[2:]:
    turn = store.add_turn(chat.id, None, words)
    store.close_reply(store.add_reply(turn.id, "scripted").id, ReplyState.COMPLETE, text="answered")
if sys.argv[1] == "killed":
    os._exit(0)
store.close()
"""


@pytest.mark.parametrize("left", ["closed", "killed", "killed and copied"])
def test_chats_are_read_where_they_cannot_be_written(left: str, tmp_path: Path) -> None:
    home = tmp_path / "read-only"
    home.mkdir()
    before = read_only(home)
    subprocess.run(
        [sys.executable, "-c", WRITTEN, left.partition(" ")[0], "the lighthouse keeper"],
        check=True,
        env={**os.environ, "EDGECHAT_HOME": str(home)},
    )
    if left == "killed and copied":  # the index of the log stays behind
        (home / "data" / "history.db-shm").unlink()
    files = {file.name: file.read_bytes() for file in (home / "data").iterdir()}
    assert ("history.db-wal" in files) == (left != "closed")

    for arguments, words in (
        (["list"], "the lighthouse keeper"),
        (["show", "1"], "answered"),
        (["search", "light"], "lighthouse keeper"),
        (["export", "--format", "markdown"], "answered"),
    ):
        ended = start(["chats", *arguments], before=before, EDGECHAT_HOME=str(home))
        assert (ended.returncode, words in ended.stdout) == (0, True), (arguments, ended.stderr)
    for arguments in (["rename", "1", "another"], ["delete", "1", "--yes"], ["pin", "1"]):
        ended = start(["chats", *arguments], before=before, EDGECHAT_HOME=str(home))
        assert (ended.returncode, "cannot be written" in ended.stderr) == (5, True), (arguments, ended.stderr)
    if left == "killed and copied":
        assert {file.name: file.read_bytes() for file in (home / "data").iterdir()} == files


def checks(ended: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {check["id"]: check for check in json.loads(ended.stdout)["checks"]}


def test_doctor_says_what_a_home_cannot_do(tmp_path: Path, no_locks: dict[str, str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", WRITTEN, "closed", "hello"],
        check=True,
        env={**os.environ, "EDGECHAT_HOME": str(home)},
    )
    doctor = ["doctor", "--json"]
    found = checks(start(doctor, EDGECHAT_HOME=str(home)))
    assert (found["locks"]["state"], found["disk"]["state"]) == ("ok", "ok")
    found = checks(start(doctor, EDGECHAT_HOME=str(home), **no_locks))
    assert (found["locks"]["state"], "no file locks" in found["locks"]["detail"]) == ("warn", True)
    found = checks(start(doctor, before=read_only(home), EDGECHAT_HOME=str(home)))
    assert "locks" not in found
    assert (found["folder_data"]["state"], "only be read" in found["folder_data"]["detail"]) == ("fail", True)
    assert (found["history"]["state"], "sound" in found["history"]["detail"]) == ("ok", True)


@pytest.mark.parametrize("room", ["size=4m", "nr_inodes=4"])
def test_doctor_sees_that_nothing_more_can_be_written(tmp_path: Path, room: str) -> None:
    home = tmp_path / "full"
    home.mkdir()
    read_only(home)  # skips where nothing can be mounted
    script = (
        f'mount -t tmpfs -o mode=700,{room} none "{home}" && mkdir "{home}/data" && cd "{home}/data" && '
        '{ head -c 5000000 /dev/zero > filler; touch 1 2 3 4 5 6; } 2> /dev/null; cd / && exec "$@"'
    )
    before = ["unshare", "-m", "sh", "-c", script, "sh"]
    ended = start(["doctor", "--json"], before=before, EDGECHAT_HOME=str(home))
    assert ended.returncode == 1
    disk = checks(ended)["disk"]
    assert (disk["state"], "No space left" in disk["detail"]) == ("fail", True)
