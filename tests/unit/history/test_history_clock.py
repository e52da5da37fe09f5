"""Clocks that stand in 1970, go back and leap ahead: nothing is purged too soon, and backups go on."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from edgechat.errors import StorageError
from edgechat.history import backup, migrations, search
from edgechat.history.clock import DAY
from edgechat.history.store import HistoryStore

Y1970, Y2026, Y2036 = 20.0, 1.78e9, 2.1e9


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets every clock."""

    def turn(seconds: float) -> None:
        class Now(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return datetime.fromtimestamp(seconds)

        for module in ("clock", "backup", "store", "chats"):
            monkeypatch.setattr(f"edgechat.history.{module}.time.time", lambda: seconds)
        monkeypatch.setattr(backup, "datetime", Now)

    return turn


def start(path: Path) -> None:
    store = HistoryStore.open(path)
    store.housekeep()
    store.close()


def say(path: Path, words: str) -> int:
    store = HistoryStore.open(path)
    chat = store.create_conversation().id
    store.add_turn(chat, None, words)
    store.close()
    return chat


def delete(path: Path, chat: int) -> None:
    store = HistoryStore.open(path)
    store.chats.delete(chat)
    store.close()


def is_there(path: Path, chat: int) -> bool:
    store = HistoryStore.open(path)
    try:
        store.chats.undelete(chat)
    except StorageError:
        return False
    finally:
        store.close()
    return True


@pytest.mark.parametrize(("deleted", "then"), [(Y1970, Y2026), (Y2026, Y2036), (Y1970, Y2036)])
def test_one_leap_of_the_clock_purges_nothing(
    path: Path, at: Callable[[float], None], deleted: float, then: float
) -> None:
    at(deleted)
    chat = say(path, "x")
    start(path)
    delete(path, chat)
    for _ in range(20):
        at(then)
        start(path)
    assert is_there(path, chat)


def test_a_device_that_starts_in_1970_every_day_purges_after_thirty_days(
    path: Path, at: Callable[[float], None]
) -> None:
    at(Y2026)
    chat = say(path, "x")
    start(path)
    delete(path, chat)
    for day in range(1, 30):
        at(Y1970)
        start(path)
        at(Y2026 + day * DAY)
        start(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT COUNT(*) FROM conversation").fetchone() == (1,)
    for day in (30, 31):
        at(Y2026 + day * DAY)
        start(path)
    assert not is_there(path, chat)


def test_after_a_clock_that_was_ahead_time_goes_on(path: Path, at: Callable[[float], None]) -> None:
    at(Y2036)
    chat = say(path, "x")
    start(path)
    at(Y2026)
    delete(path, chat)
    for day in range(1, 33):
        at(Y2026 + day * DAY)
        start(path)
    assert not is_there(path, chat)


def test_whatever_the_clock_does_two_starts_purge_nothing(path: Path, at: Callable[[float], None]) -> None:
    chance = random.Random(5)
    for _ in range(30):
        at(chance.choice([-1e12, -1.0, Y1970, Y2026, Y2036, 1e11, 1e15]))
        chat = say(path, "x")
        delete(path, chat)
        for _ in range(2):
            with pytest.MonkeyPatch.context() as patch:
                leap = chance.uniform(-1e12, 1e12)
                patch.setattr("edgechat.history.clock.time.time", lambda leap=leap: leap)
                store = HistoryStore.open(path)
                store.chats.purge(30)
                store.close()
        assert is_there(path, chat)


def test_what_was_deleted_together_comes_back_together_when_the_clock_stands_still(
    path: Path, at: Callable[[float], None]
) -> None:
    at(Y1970)
    store = HistoryStore.open(path)
    chat = store.create_conversation().id
    first = store.add_turn(chat, None, "1").id
    second = store.add_turn(chat, first, "2").id
    third = store.add_turn(chat, second, "3").id
    store.branches.delete_turn(third)
    store.branches.delete_turn(second)
    store.branches.undelete_turn(second)
    assert [turn.user for turn in store.conversation(chat).turns] == ["1", "2"]
    store.close()


def test_backups_of_a_device_that_starts_in_1970_go_on(path: Path, at: Callable[[float], None]) -> None:
    for number in range(12):
        at(Y1970)
        start(path)
        at(Y1970 + 60)
        say(path, f"said at start {number}")
    found = backup.backups(path)
    assert len(found) == backup.MAX_BACKUPS
    with closing(sqlite3.connect(found[0])) as db:
        assert db.execute("SELECT MAX(user) FROM turn WHERE user LIKE '%start 10'").fetchone() == ("said at start 10",)
    with closing(sqlite3.connect(found[-1])) as db:
        assert db.execute("SELECT COUNT(*) FROM turn").fetchone()[0] < 8


def test_a_day_in_2036_does_not_keep_the_backups_of_later_days_away(path: Path, at: Callable[[float], None]) -> None:
    at(Y2036)
    say(path, "x")
    start(path)
    for day in range(9):
        at(Y2026 + day * DAY)
        start(path)
    found = backup.backups(path)
    assert len(found) == backup.MAX_BACKUPS
    assert backup.day_of(found[0]) == f"{datetime.fromtimestamp(Y2026 + 8 * DAY):%Y-%m-%d}"
    assert all(backup.day_of(file) < "2030" for file in found)


def test_starts_of_one_day_make_one_backup(path: Path, at: Callable[[float], None]) -> None:
    for minute in range(5):
        at(Y2026 + 60 * minute)
        say(path, f"{minute}")
        start(path)
    assert len(backup.backups(path)) == 1


def test_backups_of_older_versions_come_before(path: Path, at: Callable[[float], None]) -> None:
    at(Y1970)
    folder = backup.folder_of(path)
    folder.mkdir(parents=True)
    for day in range(1, 8):
        (folder / f"history-2026-01-0{day}.db").write_bytes(b"x")
    say(path, "x")
    start(path)
    assert [backup.day_of(file) for file in backup.backups(path)][:2] == ["1970-01-01", "2026-01-07"]
    assert len(backup.backups(path)) == backup.MAX_BACKUPS


def test_what_an_older_version_deleted_counts_anew(path: Path, at: Callable[[float], None]) -> None:
    with closing(sqlite3.connect(path)) as db:
        search.register(db)
        migrations.migrate(db, path, 7)
        for chat, deleted in ((1, 1.0), (2, 1.7e9), (3, 2.2e9), (4, None)):
            db.execute(
                "INSERT INTO conversation (id, title, system, model, created, updated, touched, deleted)"
                " VALUES (?, 't', '', '', 1, 1, ?, ?)",
                (chat, chat, deleted),
            )
        db.executescript(
            "INSERT INTO turn (id, conversation, user, created, deleted) VALUES"
            " (1, 4, 'a', 1, NULL), (2, 4, 'b', 1, 5.0), (3, 4, 'c', 1, 5.0), (4, 4, 'd', 1, 9.0)"
        )
        db.commit()
    at(Y2026)
    for _ in range(3):
        start(path)
    with closing(sqlite3.connect(path)) as db:
        assert [
            chat for (chat,) in db.execute("SELECT id FROM conversation WHERE deleted NOT NULL ORDER BY deleted")
        ] == [1, 2, 3]
        assert list(db.execute("SELECT id FROM turn WHERE deleted NOT NULL ORDER BY deleted, id")) == [
            (2,),
            (3,),
            (4,),
        ]
        assert db.execute("SELECT COUNT(DISTINCT deleted) FROM turn").fetchone() == (2,)
