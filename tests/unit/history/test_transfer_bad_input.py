"""Malformed, huge and hostile files are errors with a reason; nothing of them is imported, and nothing crashes."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechat.errors import EdgechatError, TransferError
from edgechat.history.database import Database
from edgechat.history.transfer.importer import import_chats
from edgechat.history.transfer.json_stream import DEEPEST, Items
from edgechat.history.transfer.records import chat_ids
from tests.support.rights import bound_by_rights

GOOD = '{"title":"good","created":1,"updated":1}'


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(Database.in_memory()) as database:
        yield database


def ours(*chats: str) -> bytes:
    return f'{{"format":"edgechat-chats","version":1,"chats":[{",".join(chats)}]}}'.encode()


def refused(database: Database, source: bytes | Path) -> str:
    """The words of the error that the file gives; the history is as it was."""
    before = chat_ids(database)
    with pytest.raises(TransferError) as caught:
        import_chats(database, source if isinstance(source, Path) else io.BytesIO(source))
    assert chat_ids(database) == before
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "At byte 0"),
        (b"Dear diary", "At byte 0: a list or an object"),
        (b"[\n", "At byte 2"),
        (b'[{"mapping": {}}', ", or ] was expected"),
        (b'[{"mapping": {"a', "in the middle"),
        (b'{"format"', ": was expected"),
        (b'{"format" "x"}', ": was expected"),
        (b"{3: 4}", "a name was expected"),
        (b'[{"mapping": {}} {}]', ", or ] was expected"),
        (b"[,]", "a value was expected"),
        (b"[1]", "Chat 1: Expected"),
        (b"[{]", "malformed"),
        (b"[]]", "something follows"),
        (b'{"a": 1}', "it has a"),
        (b"{}", "it has nothing"),
        (b'{"chats": []}', "it has nothing"),
        (b'{"chats": [{"title":"x","created":1,"updated":1}]}', "Unknown kind"),
        (b'{"\xff": 1}', "At byte"),
        (b'[{"chat_messages": []}]', "it has chat_messages"),
        (b"\xff\xfe[\x00]\x00", "At byte 0"),
        (b'[{"mapping": 3}]', r"\$\.mapping"),
        (b'[{"mapping": {"a": {"message": {"author": {"role": 5}}}}}]', "role"),
        (b'[{"mapping": {}, "create_time": "now"}]', "create_time"),
        (b'[{"mapping": {}, "title": "\xff"}]', "Chat 1"),
        (b'[{"chat": {"history": {"messages": []}}}]', r"\$\.chat\.history\.messages"),
        (b'{"format": "edgechat-chats", "version": 2, "chats": [{"new": 1}]}', "It has version 2"),
        (b'{"format": "other", "version": 1, "chats": []}', "it has format, version"),
        (ours('{"title":"a","created":1}'), "Chat 1: .*updated"),
        (ours('{"title":"a","created":null,"updated":1}'), "created"),
        (ours('{"title":"a","created":1e999,"updated":1}'), "Chat 1"),
        (ours('{"title":"a","created":1e12,"updated":1}'), "created"),
        (ours(GOOD, GOOD.replace("good", "x")[:-1] + ',"extra":1}'), "Chat 2: .*extra"),
        (ours(GOOD[:-1] + ',"leaf":0}'), "shows turn 0"),
        (ours(GOOD[:-1] + ',"leaf":-1}'), "leaf"),
        (ours(GOOD[:-1] + ',"turns":[{"user":"x","created":1,"parent":0}]}'), "follows turn 0"),
        (ours(GOOD[:-1] + ',"turns":[{"user":"x","created":1,"active":0}]}'), "shows reply 0"),
        (
            ours(GOOD[:-1] + ',"turns":[{"user":"x","created":1,"replies":[{"text":"","state":"?","created":1}]}]}'),
            "state",
        ),
    ],
)
def test_malformed_files(database: Database, content: bytes, reason: str) -> None:
    with pytest.raises(TransferError, match=reason):
        import_chats(database, io.BytesIO(content))
    refused(database, content)


def test_one_bad_chat_keeps_all_others_out(database: Database) -> None:
    good = {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["Hi"]}}}}}
    assert "Chat 501" in refused(database, json.dumps([good] * 500 + [{"mapping": []}]).encode())
    assert "Chat 2" in refused(database, ours(GOOD, "{}"))


def test_json_a_million_levels_deep(database: Database) -> None:
    for content in (b"[" * 10**6, b'{"a":' * 10**6, ours(GOOD[:-1] + ',"x":' + "[" * 10**6)):
        assert f"more than {DEEPEST} levels" in refused(database, content)


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "c", "b": "a", "c": "b", "free": None}])
def test_messages_in_a_circle(database: Database, parents: dict[str, str | None]) -> None:
    nodes = {
        name: {
            "parent": parent,
            "children": [name],
            "message": {"author": {"role": "user"}, "content": {"parts": ["x"]}},
        }
        for name, parent in parents.items()
    }
    assert "circle" in refused(database, json.dumps([{"mapping": nodes, "current_node": "a"}]).encode())


def test_a_gigabyte_does_not_fill_the_memory(tmp_path: Path) -> None:
    """In a process that may have less memory than the files are large."""
    string, database = tmp_path / "string.json", tmp_path / "log.db"
    for path, head in ((string, b'[{"mapping": "'), (database, b"SQLite format 3\0")):
        with path.open("wb") as file:
            file.write(head)
            file.truncate(1 << 30)  # holes: the disk does not notice
    code = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))\n"
        "from edgechat.history.database import Database; from edgechat.history.transfer.importer import import_chats\n"
        "from edgechat.errors import TransferError\n"
        "for path in sys.argv[1:]:\n"
        "    try: import_chats(Database.in_memory(), Path(path))\n"
        "    except TransferError as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(string), str(database)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = ended.stdout.splitlines()
    assert "one chat is larger than 64 MB" in told[0]
    assert "cannot be read" in told[1]


def test_items_come_one_by_one_from_a_stream_without_end() -> None:
    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return (b'["\\"]}' if self.given == size else b'", {"a": [1, "}{"]}, "') + b"x" * (size - 24) + b" "

    file = Endless()
    items = iter(Items(file))
    for _ in range(100):
        next(items)
    assert file.given < 110 << 20


def test_archives(database: Database, tmp_path: Path) -> None:
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("conversations.json", b"[" + b" " * (64 << 20) + b"]")
    assert "more than 200 times" in refused(database, archive)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../conversations.json.txt", "[]")
    assert "no conversations.json" in refused(database, archive)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/conversations.json", json.dumps([{"mapping": {}}] * 1000))
    whole = archive.read_bytes()
    assert import_chats(database, io.BytesIO(whole), dry_run=True).chats == 1000
    for damaged in (
        whole[: len(whole) // 2],
        whole[:60] + b"\xff" * 8 + whole[68:],
        b"PK\x03\x04",
        whole.replace(b"\x00\x00\x08\x00", b"\x01\x00\x08\x00"),  # says that it is encrypted
        whole.replace(b"\x00\x00\x08\x00", b"\x00\x00\x63\x00"),  # packed in an unknown way
    ):
        assert "Archive is damaged" in refused(database, damaged)
    end = whole.rfind(b"PK\x05\x06")
    endless = whole[: end + 12] + struct.pack("<L", 1 << 31) + whole[end + 16 :]
    assert "list of entries" in refused(database, endless)


def log(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
    return path


RESPONSES = "CREATE TABLE responses (id, model, prompt, response, conversation_id, datetime_utc)"


def test_databases_that_are_no_log(database: Database, tmp_path: Path) -> None:
    assert "another program" in refused(database, log(tmp_path / "other.db", "CREATE TABLE responses (id)"))
    view = "CREATE VIEW responses AS SELECT 1 id, 2 model, 3 prompt, 4 response, 5 conversation_id, 6 datetime_utc"
    assert "another program" in refused(database, log(tmp_path / "view.db", view))
    Database.open(tmp_path / "ours.db").close()
    assert "history of edgechat" in refused(database, tmp_path / "ours.db")
    (tmp_path / "torn.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert "cannot be read" in refused(database, tmp_path / "torn.db")
    blob = log(tmp_path / "blob.db", RESPONSES, "INSERT INTO responses VALUES (1, 2, x'00ff', 'r', 1, 'now')")
    assert "something else" in refused(database, blob)
    large = log(
        tmp_path / "large.db", RESPONSES, f"INSERT INTO responses VALUES (1, 'm', zeroblob({80 << 20}), '', 1, '')"
    )
    assert "cannot be read" in refused(database, large)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".db"] * 6


def test_a_locked_log_and_one_that_may_only_be_read(database: Database, tmp_path: Path, open_folder: Path) -> None:
    row = "INSERT INTO responses VALUES (1, 'm', 'p', 'r', 1, '2024-01-01')"
    locked = log(tmp_path / "logs.db", RESPONSES, row)
    with closing(sqlite3.connect(locked)) as llm:
        llm.execute("BEGIN EXCLUSIVE")
        assert "has locked" in refused(database, locked)
    sealed = log(open_folder / "logs.db", "PRAGMA journal_mode = WAL", RESPONSES, row)
    with bound_by_rights(open_folder):
        sealed.chmod(0o400)
        open_folder.chmod(0o500)
        assert import_chats(database, sealed).chats == 1
        assert [path.name for path in open_folder.iterdir()] == ["logs.db"]


def test_files_that_cannot_be_read(database: Database, tmp_path: Path, open_folder: Path) -> None:
    assert "No such file" in refused(database, tmp_path / "none.json")
    assert "directory" in refused(database, tmp_path)
    secret = open_folder / "secret.json"
    secret.write_text("[]")
    with bound_by_rights(open_folder):
        secret.chmod(0)
        assert "ermission" in refused(database, secret)


NAMES = ["mapping", "chat", "history", "messages", "message", "author", "role", "content", "parts", "metadata", "title"]
NAMES += [
    "created_at",
    "create_time",
    "currentId",
    "current_node",
    "parent",
    "parentId",
    "children",
    "a",
    "user",
    "text",
]
NAMES += ["format", "version", "chats", "turns", "replies", "state", "created", "updated", "leaf", "files", "usage"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*NAMES, "assistant", "\ud800", "\x1b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=300)
@given(VALUES)
def test_any_json_is_imported_or_an_error(value: Any) -> None:
    with closing(Database.in_memory()) as database:
        for content in ([value], {"format": "edgechat-chats", "version": 1, "chats": [value]}, value):
            before = chat_ids(database)
            try:
                import_chats(database, io.BytesIO(json.dumps(content).encode()))
            except EdgechatError:
                assert chat_ids(database) == before


@settings(max_examples=300)
@given(st.integers(0, 400), st.integers(0, 40), st.binary(max_size=8))
def test_any_damage_is_imported_or_an_error(at: int, length: int, put: bytes) -> None:
    turn = '{"user":"x","created":1,"replies":[{"text":"y","state":"complete","created":1,"seconds":0}],"active":0}'
    whole = ours(GOOD, GOOD[:-1] + f',"turns":[{turn}],"leaf":0}}')
    with closing(Database.in_memory()) as database:
        try:
            result = import_chats(database, io.BytesIO(whole[:at] + put + whole[at + length :]))
        except EdgechatError:
            assert chat_ids(database) == []
        else:
            assert len(chat_ids(database)) == result.chats


@pytest.fixture(scope="module")
def whole_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("log") / "logs.db"
    rows = [f"INSERT INTO responses VALUES ({n}, 'm', 'p', '{'r' * 500}', {n % 7}, '2024-01-01')" for n in range(100)]
    return log(path, RESPONSES, *rows).read_bytes()


@settings(max_examples=100)
@given(at=st.floats(0, 1), put=st.binary(min_size=1, max_size=200), cut=st.booleans())
def test_a_damaged_log_is_imported_or_an_error(whole_log: bytes, at: float, put: bytes, cut: bool) -> None:
    place = 16 + int(at * (len(whole_log) - 16))
    damaged = whole_log[:place] + put + (b"" if cut else whole_log[place + len(put) :])
    with closing(Database.in_memory()) as database:
        try:
            result = import_chats(database, io.BytesIO(damaged))
        except EdgechatError:
            assert chat_ids(database) == []
        else:
            assert len(chat_ids(database)) == result.chats
