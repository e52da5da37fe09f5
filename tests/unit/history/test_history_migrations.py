from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgechat.chat.conversation import ChatSettings
from edgechat.errors import DamagedError, StorageError
from edgechat.history import migrations, search
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    from pathlib import Path

RELEASED = {
    "chats as trees of turns": "d39761c07261aeaa657e3dd629bdb6f468f765869f5e03a2f171bc581cde9833",
    "branches, the shelf and the index of words": "225274ec62fa595da37432b2041f381f27cf355f93ebb4cd47f3e866253f8b4e",
    "feedback on replies": "5ffc02565e4b25cffb6ec07c7901f95f57c83647a42bb3ae7dae5beb2f2b51af",
    "windows kept with the turns": "a3bd5d10e879ab96b54a590f355cdeee13212ecdfbe8c6c830b927879d0e5dae",
    "titles are searched": "cf28283577460cb12df2014a14ff2f14490b0bdacea8e6936403fedbb1d7afc0",
    "what was sent to servers": "2736a55ead7664e218ce9f02f365e26460307afd60ec0a7edb9fa417be288ce6",
    "messages being written": "c1f03306a09429a93cd12f36a91b55c9e502fb1bfdf31aee94d23db9cbf4f4d5",
    "time as it was lived through": "400a8794b2b3a4a971aea46f3f5d4e2461942f5ef0da08fbe0978b6bc38cb813",
    "which reply a message follows": "830070255d1b611513effec0aeabcef14314f932e5c0559f6e0f3a3c6d2822e0",
}
"""Each step that files on disk may have taken, and the SHA-256 of its SQL. Add to it; never change a line."""


def schema(path: Path) -> tuple[int, list[tuple[str, str]]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        return db.execute("PRAGMA user_version").fetchone()[0], rows


def at_version(path: Path, version: int) -> None:
    """A file that has taken the first steps only, as an older edgechat left it."""
    with closing(sqlite3.connect(path)) as db:
        search.register(db)
        for migration in migrations.MIGRATIONS[:version]:
            for statement in migration.statements:
                db.execute(statement)
        if version:
            db.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")
        db.commit()


def version_1(path: Path) -> None:
    """A file of version 1 with a chat in it."""
    at_version(path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""
            INSERT INTO conversation VALUES (1, 'Title', 'Be brief.', 'phi', 10.0, 20.0, 1, NULL);
            INSERT INTO turn VALUES (1, 1, NULL, 'One?', 11.0, NULL), (2, 1, 1, 'Two?', 12.0, NULL);
            INSERT INTO reply (id, turn, text, state, model, created) VALUES (1, 1, 'Yes.', 'complete', 'phi', 11.5);
            UPDATE turn SET active = 1 WHERE id = 1;
            UPDATE conversation SET leaf = 2;
        """)


def test_released_steps_are_never_edited() -> None:
    steps = {
        step.name: hashlib.sha256("\n".join(step.statements).encode()).hexdigest() for step in migrations.MIGRATIONS
    }
    assert list(steps.items()) == list(RELEASED.items())


@pytest.mark.parametrize("version", range(len(migrations.MIGRATIONS) + 1))
def test_every_older_file_reaches_the_newest_schema(tmp_path: Path, version: int) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    at_version(old, version)
    HistoryStore.open(old).close()
    HistoryStore.open(new).close()
    assert schema(old) == schema(new)
    assert schema(new)[0] == len(migrations.MIGRATIONS)


def test_a_chat_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    version_1(path)
    store = HistoryStore.open(path)
    chat = store.latest()
    store.close()
    assert chat is not None
    assert (chat.title, chat.system, chat.updated) == ("Title", "Be brief.", 20.0)
    assert [turn.user for turn in chat.turns] == ["One?", "Two?"]
    assert chat.turns[0].reply is not None
    assert chat.turns[0].reply.text == "Yes."
    assert (chat.pinned, chat.archived, chat.settings) == (False, False, ChatSettings())


def test_what_an_older_message_followed_is_told_by_the_order_of_the_replies(tmp_path: Path) -> None:
    """Not by their times, which are those of a device that starts in 1970 each time."""
    path = tmp_path / "history.db"
    version_1(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""
            INSERT INTO reply (id, turn, text, state, model, created) VALUES
                (2, 1, 'No.', 'complete', 'phi', 1.0), (3, 2, 'Three.', 'complete', 'phi', 2.0),
                (4, 1, 'Later.', 'complete', 'phi', 11.6);
        """)
    HistoryStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT follows FROM turn ORDER BY id").fetchall() == [(None,), (2,)]


def test_the_words_of_a_chat_of_version_1_are_found(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    version_1(path)
    store = HistoryStore.open(path)
    assert [(hit.turn, hit.reply) for hit in store.search.find("yes")] == [(1, 1)]
    assert [(hit.turn, hit.reply) for hit in store.search.find("two")] == [(2, None)]
    store.close()


def test_steps_to_come_are_taken_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    version_1(path)
    more = (
        migrations.Migration("add", ("ALTER TABLE turn ADD COLUMN extra TEXT NOT NULL DEFAULT 'x'",)),
        migrations.Migration("fill", ("UPDATE turn SET extra = extra || user",)),
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS + more)
    for _ in range(2):
        HistoryStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT extra FROM turn ORDER BY id").fetchall() == [("xOne?",), ("xTwo?",)]


def test_a_step_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    version_1(path)
    before = schema(path)
    bad = migrations.Migration("bad", ("CREATE TABLE half (id)", "INSERT INTO nowhere VALUES (1)"))
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, bad))
        with pytest.raises(StorageError):
            HistoryStore.open(path)
    assert schema(path) == before
    store = HistoryStore.open(path)
    assert len(store.list_conversations()) == 1
    store.close()


def test_a_newer_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    HistoryStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE something_new (id)")
        db.execute("PRAGMA user_version = 99")
    path.chmod(0o640)
    before, mode = path.read_bytes(), path.stat().st_mode
    with pytest.raises(StorageError) as caught:
        HistoryStore.open(path)
    assert "newer" in caught.value.title
    assert "99" in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before
    assert path.stat().st_mode == mode
    assert [file.name for file in tmp_path.iterdir()] == ["history.db"]


def test_a_number_of_a_newer_version_on_tables_of_this_one_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    HistoryStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 255")
    with pytest.raises(DamagedError):
        HistoryStore.open(path)


def test_the_sum_of_the_schema_is_that_of_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    HistoryStore.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert migrations.sum_of(migrations.schema_of(db)) == migrations.SCHEMA_SUM


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE notes (id)", "PRAGMA application_id = 7", "PRAGMA user_version = 1", "CREATE TABLE turn (id)"],
)
def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path, script: str) -> None:
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="Not a chat history"):
        HistoryStore.open(path)
    assert path.read_bytes() == before
