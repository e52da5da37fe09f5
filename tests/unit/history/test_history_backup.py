"""Backups, and the day they are needed: a damaged history is set aside and never overwritten."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.errors import DamagedError, StorageError
from edgechat.history import backup
from edgechat.history.clock import DAY
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import history_path, make_private
from edgechat.session.factory import history_for, open_history
from edgechat.settings.schema import Config


@pytest.fixture
def path(own_home: Path) -> Path:
    return history_path()


class Calendar(datetime):
    """A clock that the test turns."""

    today_is = datetime(2026, 3, 1, 12)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return cls.today_is


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> type[Calendar]:
    monkeypatch.setattr(backup, "datetime", Calendar)
    monkeypatch.setattr(Calendar, "today_is", datetime(2026, 3, 1, 12))
    return Calendar


def say(path: Path, *messages: str) -> None:
    store = HistoryStore.open(path)
    for message in messages:
        turn = store.add_turn(store.create_conversation().id, None, message)
        store.close_reply(store.add_reply(turn.id).id, ReplyState.COMPLETE, text=f"to {message} " * 200)
    store.close()


def titles(store: HistoryStore) -> list[str]:
    return [chat.title for chat in store.list_conversations()]


def backups(path: Path) -> list[str]:
    return sorted(file.name for file in backup.folder_of(path).iterdir())


def test_one_backup_a_day_and_seven_of_them(path: Path, calendar: type[Calendar]) -> None:
    say(path, "hello")
    store = HistoryStore.open(path)
    for _ in range(10):
        store.housekeep()
        store.housekeep()
        calendar.today_is += timedelta(days=1)
    assert backups(path) == [f"history-{day:06}.2026-03-{day:02}.db" for day in range(4, 11)]
    store.close()
    copy = HistoryStore.open(backup.folder_of(path) / "history-000010.2026-03-10.db")
    assert titles(copy) == ["hello"]
    copy.close()
    if os.name == "posix":
        assert stat.S_IMODE(backup.folder_of(path).stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in backup.folder_of(path).glob("*.db")} == {0o600}


def test_a_backup_holds_what_is_only_in_the_log_while_a_reply_streams(path: Path) -> None:
    store = HistoryStore.open(path)
    reply = store.add_reply(store.add_turn(store.create_conversation().id, None, "question").id)
    store.append_text(reply.id, "half an ans")
    made = backup.back_up(path)
    assert made is not None
    with closing(sqlite3.connect(made)) as db:
        assert db.execute("SELECT text FROM fragment").fetchall() == [("half an ans",)]
    store.append_text(reply.id, "wer")
    assert store.close_reply(reply.id, ReplyState.COMPLETE).text == "half an answer"
    store.close()


def test_nothing_is_backed_up_where_nothing_is_kept(path: Path) -> None:
    HistoryStore.open(path).close()
    assert backup.back_up(path) is None
    store = HistoryStore.in_memory()
    store.create_conversation()
    store.housekeep()
    store.close()
    assert backups(path) == []


def test_long_deleted_chats_are_purged_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(path, "old", "new")
    store = HistoryStore.open(path)
    store.chats.delete(1)
    store.housekeep()
    store.chats.undelete(1)
    store.chats.delete(1)
    later = time.time()
    for days in (9, 18, 27):
        monkeypatch.setattr("edgechat.history.clock.time.time", lambda days=days: later + days * DAY)
        store.housekeep()
    store.chats.undelete(1)
    store.chats.delete(1)
    for days in (36, 45, 54, 63):
        monkeypatch.setattr("edgechat.history.clock.time.time", lambda days=days: later + days * DAY)
        store.housekeep()
    with pytest.raises(StorageError, match="No such chat"):
        store.chats.undelete(1)
    assert titles(store) == ["new"]
    store.close()


def test_what_a_killed_backup_left_is_taken_away(path: Path, calendar: type[Calendar]) -> None:
    say(path, "kept")
    folder = make_private(backup.folder_of(path))
    dead = 2**22 + 1  # no process has it
    left = [folder / f"history-000001.2026-02-01.db.{dead}.{end}" for end in ("part", "part-journal")]
    running = folder / f"history-000001.2026-03-01.db.{os.getppid()}.part"
    for file in (*left, running):
        file.write_bytes(b"every chat")
    backup.back_up(path)
    assert backups(path) == ["history-000001.2026-03-01.db", running.name]


def test_a_damaged_history_does_not_replace_good_backups(path: Path, calendar: type[Calendar]) -> None:
    say(path, *map(str, range(30)))
    backup.back_up(path)
    before = backups(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = random.Random(3).randbytes(20_000)
    path.write_bytes(content)
    calendar.today_is += timedelta(days=1)
    with pytest.raises(StorageError, match="damaged"):
        backup.back_up(path)
    assert backups(path) == before


def test_a_damaged_history_is_set_aside_and_the_newest_sound_backup_opens(path: Path, calendar: type[Calendar]) -> None:
    say(path, "kept")
    backup.back_up(path)
    calendar.today_is += timedelta(days=1)
    backup.back_up(path)
    (backup.folder_of(path) / "history-000002.2026-03-02.db").write_bytes(b"damaged as well")
    say(path, "said later")
    content = b"\0not a database" * 1000
    path.write_bytes(content)
    told: list[str] = []
    store = history_for(Config(), told.append)
    assert titles(store) == ["kept"]
    store.close()
    [words] = told
    aside = path.with_name("history.damaged-2026-03-02T120000.db")
    assert str(aside) in words
    assert "2026-03-01" in words
    assert aside.read_bytes() == content
    path.write_bytes(b"again")
    history_for(Config(), told.append).close()
    assert path.with_name("history.damaged-2026-03-02T120000-2.db").read_bytes() == b"again"
    assert aside.read_bytes() == content


@pytest.mark.parametrize("log", [False, True])
def test_without_a_backup_the_history_begins_anew(path: Path, log: bool) -> None:
    say(path, "x")
    if log:  # a log whose file is gone
        path.unlink()
        path.with_name("history.db-wal").write_bytes(b"the newest messages")
    else:
        path.write_bytes(b"nonsense")
    told: list[str] = []
    store = history_for(Config(), told.append)
    assert titles(store) == []
    store.close()
    assert "begins anew" in told[0]
    [aside] = path.parent.glob("history.damaged-*")
    assert aside.read_bytes() == (b"the newest messages" if log else b"nonsense")


def test_what_is_not_damaged_is_not_set_aside(path: Path) -> None:
    say(path, "x")
    assert backup.set_aside(path) is None
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE something_new (id)")
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer"):
        open_history(lambda _: None)
    assert [file.name for file in path.parent.iterdir()] == ["history.db"]


def test_a_folder_that_cannot_be_written_leaves_the_damage_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(path, "x")
    path.write_bytes(b"nonsense")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(DamagedError):
        open_history(lambda _: None)
    told: list[str] = []
    store = history_for(Config(), told.append)  # nobody is kept from chatting
    assert "damaged" in told[0]
    assert "nothing of this chat is kept" in told[1]
    store.create_conversation()
    store.close()
    assert path.read_bytes() == b"nonsense"


@pytest.mark.parametrize("seed", range(12))
def test_a_log_cut_by_a_power_failure_keeps_a_beginning(tmp_path: Path, seed: int) -> None:
    """What was checkpointed and the whole transactions before the cut are there, in order, and nothing else."""
    chance = random.Random(seed)
    source = tmp_path / "source.db"
    store = HistoryStore.open(source)
    chat = store.create_conversation(title="x").id
    store._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    parent = None
    ends = []
    log = source.with_name("source.db-wal")
    for number in range(30):
        parent = store.add_turn(chat, parent, f"question {number}").id
        ends.append(log.stat().st_size)
    cut = chance.randrange(ends[-1])
    path = tmp_path / "history.db"
    path.write_bytes(source.read_bytes())
    path.with_name("history.db-wal").write_bytes(log.read_bytes()[:cut])
    store.close()
    again = HistoryStore.open(path)
    found = [turn.user for turn in again.conversation(chat).turns]
    again.close()
    assert found == [f"question {number}" for number in range(sum(end <= cut for end in ends))]
