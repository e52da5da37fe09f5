"""Random damage to a history beside a sound backup: nobody is locked out, and nothing goes missing without a word.

A byte that changes inside a text into another character cannot be noticed by anyone: SQLite keeps no sums over its
pages. Everything else is either all there, or the backup is opened and the user told.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.errors import DamagedError
from edgechat.history import backup, search
from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import history_path, own_command
from edgechat.session.factory import open_history
from tests.hostile.conftest import Campaign, sample

CHATS = 12

KINDS = (
    "byte, byte, bits, header, schema, schema, run, zeros, cut, grown, page, freelist, swap, noise, empty, "
    "log byte, log cut, log header, log gone, log noise, index, folder, pipe, companion folder, "
    "other database, version, application, foreign key, table"
)

UNSEEN = ("log gone", "log cut")
"""What looks as a power cut leaves it: a log that ends early, with what the disk had not taken yet."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a history, a backup of all but its last chat, and a log that was not taken over yet."""
    data = tmp_path_factory.mktemp("sound") / "data"
    path = data / "history.db"
    store = HistoryStore.open(path)
    for number in range(CHATS - 1):
        fill(store, number)
    store.close()
    made = backup.back_up(path)
    assert made is not None
    store = HistoryStore.open(path)
    fill(store, CHATS - 1)
    # As a kill would leave it: with the log.
    kept = data.parent / "kept"
    shutil.copytree(data, kept)
    store.close()
    return kept


def fill(store: HistoryStore, number: int) -> None:
    chat = store.create_conversation(system=f"system {number}", model="m")
    parent = None
    for turn in range(6):
        parent = store.add_turn(chat.id, parent, f"question {number}.{turn} " * 20).id
        store.close_reply(store.add_reply(parent, "m").id, ReplyState.COMPLETE, text=f"answer {number}.{turn} " * 60)


def shape(store: HistoryStore) -> list[tuple[int, int]]:
    """Each chat with how many turns it shows; every text is read."""
    return sorted((chat.id, len(store.conversation(chat.id).turns)) for chat in store.list_conversations())


def damaged(folder: Path, chance: random.Random) -> str:
    """Damage one thing of a history; says what."""
    path, log = folder / "history.db", folder / "history.db-wal"
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    kind = chance.choice(KINDS.split(", "))
    at = chance.randrange(len(content))
    match kind:
        case "byte":
            content[at] = chance.randrange(256)
        case "bits":
            content[at] ^= 1 << chance.randrange(8)
        case "header":
            content[chance.randrange(100)] = chance.randrange(256)
        case "schema":
            content[chance.randrange(100, 4096)] = 0xFF
        case "run":
            length = chance.choice([8, 200, 5000])
            content[at : at + length] = chance.randbytes(len(content[at : at + length]))
        case "zeros":
            page = chance.randrange(pages) * 4096
            content[page : page + 4096] = bytes(4096)
        case "cut":
            del content[at:]
        case "grown":
            content += chance.randbytes(chance.choice([1, 4096, 10_000]))
        case "page":
            page = chance.randrange(pages) * 4096
            content[page : page + 4096] = chance.randbytes(4096)
        case "freelist":
            content[32:40] = chance.randbytes(8)
        case "swap":
            one, other = (chance.randrange(pages) * 4096 for _ in range(2))
            content[one : one + 4096], content[other : other + 4096] = (
                content[other : other + 4096],
                content[one : one + 4096],
            )
        case "version":
            content[60:64] = chance.choice([b"\0\0\0\xff", b"\xff\0\0\0", b"\0\0\0\1", bytes(4)])
        case "application":
            content[68:72] = chance.choice([chance.randbytes(4), bytes(4)])
        case "noise":
            content = bytearray(chance.randbytes(len(content)))
        case "empty":
            content.clear()
    path.write_bytes(content)
    record = bytearray(log.read_bytes())
    match kind:
        case "log byte":
            record[chance.randrange(32, len(record))] ^= 1 << chance.randrange(8)
        case "log header":
            record[chance.randrange(32)] ^= 1 << chance.randrange(8)
        case "log cut":
            del record[chance.randrange(len(record)) :]
        case "log noise":
            record[:] = chance.randbytes(len(record))
    log.write_bytes(record)
    match kind:
        case "log gone":
            log.unlink()
        case "index":
            (folder / "history.db-shm").write_bytes(chance.randbytes(32768))
        case "folder":
            path.unlink()
            path.mkdir()
            (path / "mine").write_text("x")
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case "companion folder":
            companion = Path(f"{path}{chance.choice(['-wal', '-shm', '-journal'])}")
            companion.unlink(missing_ok=True)
            companion.mkdir()
        case "other database" | "foreign key" | "table":
            with closing(sqlite3.connect(path)) as db:
                search.register(db)
                db.executescript(
                    {
                        "other database": "PRAGMA application_id = 7; CREATE TABLE other (id)",
                        "foreign key": f"DELETE FROM turn WHERE id = {chance.randint(1, 60)}",
                        "table": f"DROP TABLE {chance.choice(['fragment', 'draft', 'sent', 'words', 'titles'])}",
                    }[kind]
                )
    return kind


def doors(path: Path) -> tuple[list[str], list[tuple[int, int]]]:
    """Open the history as commands do until it can be read to its end; what was told, and its shape.

    Damage that is only met where a chat is read is told then, and set aside by the next opening.
    """
    told: list[str] = []
    for _ in range(2):
        store = open_history(told.append)
        try:
            return told, shape(store)
        except DamagedError as error:
            told.append(str(error))
        finally:
            with contextlib.suppress(DamagedError):
                store.close()
    raise AssertionError(f"locked out after {told}")


def attack(
    sound: Path, home: Path, whole: list[tuple[int, int]], door: Callable[[int], bool]
) -> Callable[[int], str | None]:
    data = home / "data"

    def one(number: int) -> str | None:
        chance = random.Random(number)
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(sound, data)
        kind = damaged(data, chance)
        told: list[str] = []
        if door(number):
            ended = subprocess.run(
                own_command("chats", "list"), capture_output=True, text=True, errors="replace", check=False, timeout=120
            )
            if ended.returncode or "Traceback" in ended.stderr:
                return f"{kind}: exit code {ended.returncode}: {ended.stderr[-300:]}"
            told += [ended.stderr] if ended.stderr else []
        try:
            more, found = doors(history_path())
        except Exception as error:
            return f"{kind}: {type(error).__name__}: {error}"
        told += more
        if found != whole and not told and kind not in UNSEEN:
            return f"{kind}: {len(found)} of {len(whole)} chats, and nobody was told"
        if len(found) < CHATS - 1:
            return f"{kind}: the backup has {CHATS - 1} chats, and {len(found)} are here: {told}"
        if "set aside" in " ".join(told) and not list(data.glob("history.damaged-*")):
            return f"{kind}: told of a file that is not there: {told}"
        return None

    return one


def test_damage(sound: Path, own_home: Path, campaign: Callable[[str, str], Campaign]) -> None:
    whole = [(chat, 6) for chat in range(1, CHATS + 1)]
    every = 6  # through the command line itself, which takes the longest
    campaign("B", "random damage to the history's files").run(
        sample(50, 600), attack(sound, own_home, whole, lambda number: number % every == 0 and number >= 36)
    )
