"""Every way the file can fail ends in words for the user, and costs nothing that was kept before."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.errors import ExitCode, StorageError
from edgechat.history import database, reply_owner
from edgechat.history.store import HistoryStore
from tests.support.rights import bound_by_rights

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name != "posix", reason="Windows keeps rights elsewhere")


def filled(path: Path) -> int:
    """A file with one chat of twenty turns, closed. Returns the chat."""
    store = HistoryStore.open(path)
    chat = store.create_conversation(system="Be brief.")
    parent = None
    for n in range(20):
        parent = store.add_turn(chat.id, parent, f"question {n} " * 30).id
        store.close_reply(store.add_reply(parent, "phi").id, ReplyState.COMPLETE, text="answer " * 50)
    store.close()
    return chat.id


def words(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    error = caught.value
    assert error.title
    assert error.message
    assert error.hint
    assert error.exit_code is ExitCode.STORAGE
    return error


@posix
def test_a_read_only_folder(open_folder: Path) -> None:
    path = open_folder / "history.db"
    open_folder.chmod(0o500)
    with bound_by_rights(open_folder):
        error = words(lambda: HistoryStore.open(path))
        inner = words(lambda: HistoryStore.open(open_folder / "data" / "history.db"))
    assert str(path) in error.message
    assert str(open_folder / "data") in inner.message
    assert list(open_folder.iterdir()) == []


@posix
def test_a_file_in_a_folder_that_became_read_only(open_folder: Path) -> None:
    path = open_folder / "history.db"
    filled(path)
    before = path.read_bytes()
    open_folder.chmod(0o500)
    with bound_by_rights(open_folder):
        error = words(lambda: HistoryStore.open(path))
    assert "written" in error.title
    assert path.read_bytes() == before


@posix
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_file_without_rights(open_folder: Path, mode: int) -> None:
    path = open_folder / "history.db"
    filled(path)
    before = path.read_bytes()
    path.chmod(mode)
    with bound_by_rights(open_folder):
        error = words(lambda: HistoryStore.open(path))
    assert "written" in error.title
    assert path.stat().st_mode & 0o777 == mode
    path.chmod(0o600)
    assert path.read_bytes() == before


def test_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words(lambda: HistoryStore.open(tmp_path / "file" / "history.db"))
    words(lambda: HistoryStore.open(tmp_path / "file" / "data" / "history.db"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    assert "folder" in words(lambda: HistoryStore.open(tmp_path)).message


@pytest.mark.parametrize("size", [2, 10, 99, 100, 511, 512, 4096, 100_000])
def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, size: int) -> None:
    path = tmp_path / "history.db"
    content = random.Random(size).randbytes(size)
    path.write_bytes(content)
    assert "damaged" in words(lambda: HistoryStore.open(path)).title
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["history.db"]


def test_an_empty_file_becomes_a_history(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.touch()
    filled(path)


@pytest.mark.parametrize("left", [None, b""])
def test_a_log_whose_file_is_gone_is_left_as_it_is(tmp_path: Path, left: bytes | None) -> None:
    path, log = tmp_path / "history.db", tmp_path / "history.db-wal"
    if left is not None:
        path.write_bytes(left)
    log.write_bytes(b"the newest messages")
    assert "damaged" in words(lambda: HistoryStore.open(path)).title
    assert log.read_bytes() == b"the newest messages"
    assert not path.exists() or path.read_bytes() == left


def test_turns_in_a_ring_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    chat = filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("UPDATE turn SET parent = 20 WHERE id = 1")
        db.commit()
    store = HistoryStore.open(path)
    assert "damaged" in words(lambda: store.conversation(chat)).title
    store.close()
    assert "damaged" in words(lambda: HistoryStore.open(path)).title  # from then on it is not trusted


def test_a_file_cut_in_half(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    chat = filled(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    def use() -> None:
        store = HistoryStore.open(path)
        try:
            store.conversation(chat)
        finally:
            store.close()

    assert "damaged" in words(use).title
    assert path.read_bytes() == content[: len(content) // 2]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_overwritten_gives_words_and_never_a_traceback(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "history.db"
    chat = filled(path)
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(content)), chance.choice([1, 8, 200, 5000])
        content[at : at + length] = chance.randbytes(len(content[at : at + length]))
    path.write_bytes(content)

    try:
        store = HistoryStore.open(path)
    except StorageError:
        assert path.read_bytes() == content
        return
    for call in (
        store.list_conversations,
        store.latest,
        lambda: store.conversation(chat),
        lambda: store.add_turn(chat, 20, "more"),
        lambda: store.append_text(store.add_reply(20).id, "more"),
        lambda: store.close_reply(20, ReplyState.STOPPED),
        store.create_conversation,
        lambda: store.conversation(chat),
    ):
        with suppress(StorageError):
            call()
    store.close()


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    store = HistoryStore.open(path)
    chat = store.create_conversation()
    turn = store.add_turn(chat.id, None, "question")
    reply = store.add_reply(turn.id)
    store.append_text(reply.id, "as far as")
    before = store.conversation(chat.id)
    connection = store._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    long = "x" * 100_000
    for call in (
        lambda: store.add_turn(chat.id, turn.id, long),
        lambda: store.append_text(reply.id, long),
        lambda: store.close_reply(reply.id, ReplyState.COMPLETE, text=long),
        lambda: store.create_conversation(system=long),
    ):
        assert words(call).title == "Disk is full"
    assert store.conversation(chat.id) == before

    connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    store.append_text(reply.id, " it got")
    assert store.close_reply(reply.id, ReplyState.STOPPED).text == "as far as it got"
    store.close()


def test_a_full_disk_does_not_keep_an_old_chat_from_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HistoryStore.open(tmp_path / "history.db")
    chat = store.create_conversation()
    reply = store.add_reply(store.add_turn(chat.id, None, "question").id)
    for _ in range(20):
        store.append_text(reply.id, "x" * 1000)
    connection = store._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    monkeypatch.setattr(reply_owner, "is_alive", lambda _: False)
    found = store.conversation(chat.id).turns[0].reply
    assert found is not None
    assert (len(found.text), found.state) == (20_000, ReplyState.INTERRUPTED)
    assert connection.execute("SELECT state FROM reply").fetchone() == ("streaming",)
    store.close()


@posix
def test_a_file_that_may_not_grow_keeps_what_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    script = """
import resource, sys
from pathlib import Path
from edgechat.errors import StorageError
from edgechat.history.store import HistoryStore
from tests.support.rights import bound_by_rights
from tests.support.rights import bound_by_rights

store = HistoryStore.open(Path(sys.argv[1]))
chat = store.create_conversation()
reply = store.add_reply(store.add_turn(chat.id, None, "question").id)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
count = 0
try:
    while True:
        store.append_text(reply.id, f"{count:1000}")
        count += 1
except StorageError as error:
    assert error.hint
    assert len(store.conversation(chat.id).turns[0].reply.text) == count * 1000
    print(count, error.title, flush=True)
import os
os._exit(0)  # as a crash would: without the chance to tidy up
"""
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    count, title = run.stdout.split(maxsplit=1)
    assert title.startswith("Disk")
    assert int(count) > 10
    store = HistoryStore.open(path)
    found = store.conversation(1).turns[0].reply
    store.close()
    assert found is not None
    assert (len(found.text), found.state) == (int(count) * 1000, ReplyState.INTERRUPTED)


def test_a_file_that_another_program_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    chat = filled(path)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    store = HistoryStore.open(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "busy" in words(lambda: store.add_turn(chat, None, "x")).title
        assert "busy" in words(lambda: HistoryStore.open(path)).title
        assert len(store.conversation(chat).turns) == 20
    store.add_turn(chat, 20, "x")
    store.close()


def test_a_second_store_in_the_process_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    chat = filled(path)
    store = HistoryStore.open(path)
    script = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    db.execute("BEGIN IMMEDIATE")
    print("free")
except sqlite3.OperationalError:
    print("locked")
db.close()
"""
    with store._database.writing():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "BUSY_SECONDS", 0.05)
            words(lambda: HistoryStore.open(path))
        run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "locked"
    assert len(store.conversation(chat).turns) == 20
    store.close()
