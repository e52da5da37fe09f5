"""Several processes and threads on one file, and processes that are killed while they write."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.history import search
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    from pathlib import Path

PIECES = 12

# Says on its output what the store has confirmed, one line each, as soon as it has.
WRITER = f"""
import os, sys
from pathlib import Path
from edgechat.chat.conversation import ReplyState
from edgechat.history.store import HistoryStore

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

store = HistoryStore.open(Path(sys.argv[1]))
chat = store.create_conversation()
say("chat", chat.id)
parent = None
for n in range(100_000):
    parent = store.add_turn(chat.id, parent, f"question {{n}}").id
    say("turn")
    reply = store.add_reply(parent)
    for k in range({PIECES}):
        store.append_text(reply.id, f"<{{n}}.{{k}} ünï>")
        say("piece")
    store.close_reply(reply.id, ReplyState.COMPLETE)
    say("closed")
"""

# Streams one reply and then waits to be told to end.
STREAMER = """
import sys
from pathlib import Path
from edgechat.history.store import HistoryStore

store = HistoryStore.open(Path(sys.argv[1]))
chat = store.create_conversation()
reply = store.add_reply(store.add_turn(chat.id, None, "question").id)
store.append_text(reply.id, "still wri")
print(chat.id, flush=True)
sys.stdin.read()
"""

# Waits for the word, then opens a file that does not exist yet and fills it.
FILLER = """
import sys
from pathlib import Path
from edgechat.history.store import HistoryStore

print("ready", flush=True)
sys.stdin.readline()
store = HistoryStore.open(Path(sys.argv[1]))
chat = store.create_conversation(title=sys.argv[2])
parent = None
for n in range(40):
    parent = store.add_turn(chat.id, parent, f"{sys.argv[2]} {n}").id
    reply = store.add_reply(parent)
    for _ in range(5):
        store.append_text(reply.id, str(n))
store.close()
"""


# Forks two writers at a time, kills both at a random moment, and looks what is there; forked, because starting Python
# and importing the store would take most of the time. Each writer says what the store has confirmed.
NURSERY = """
import json, os, random, select, signal, sys, time
from pathlib import Path
from edgechat.chat.conversation import ReplyState
from edgechat.history.store import HistoryStore

path, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)

def write(out):
    store = HistoryStore.open(path)
    chat = store.create_conversation()
    parent = None
    for n in range(100_000):
        parent = store.add_turn(chat.id, parent, f"question {n}").id
        os.write(out, b"q" + json.dumps([chat.id, parent]).encode() + b"\\n")
        for attempt in range(2):
            reply = store.add_reply(parent)
            for k in range(4):
                store.append_text(reply.id, f"<{n}.{attempt}.{k}>")
                os.write(out, b"p" + json.dumps([reply.id, k]).encode() + b"\\n")
            if chance.random() < 0.7:
                store.close_reply(reply.id, ReplyState.STOPPED)
                store.resume_reply(reply.id)
            store.append_text(reply.id, "end")
            store.close_reply(reply.id, ReplyState.COMPLETE)

killed = messages = pieces = 0
for _ in range(rounds):
    children = []
    for _ in range(2):
        reading, writing = os.pipe()
        chance.random()
        pid = os.fork()
        if not pid:
            os.close(reading)
            try:
                write(writing)
            finally:
                os._exit(1)
        os.close(writing)
        children.append((pid, reading))
    confirmed = b""
    heard = {reading: b"" for _, reading in children}
    if chance.random() < 0.9:  # else while they open the file
        # So far by what was confirmed, not by the clock: on a busy machine nothing would have been written.
        wanted = chance.randrange(1, 24)
        while sum(part.count(b"\\n") for part in heard.values()) < wanted:
            for reading in select.select(list(heard), [], [])[0]:
                part = os.read(reading, 4096)
                assert part, "a writer failed"
                heard[reading] += part
    time.sleep(chance.uniform(0.0, 0.02))
    for pid, _ in children:
        os.kill(pid, signal.SIGKILL)
    for pid, reading in children:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "a writer failed"
        killed += 1
        with os.fdopen(reading, "rb") as told:
            confirmed += heard[reading] + told.read()
    store = HistoryStore.open(path)
    chats, replies = {}, {}
    for line in confirmed.splitlines(keepends=True):
        if not line.endswith(b"\\n"):
            continue
        kind, (first, second) = line[:1], json.loads(line[1:])
        if kind == b"q":
            messages += 1
            if first not in chats:
                chats[first] = {turn.id: turn for turn in store.conversation(first).turns}
                replies |= {reply.id: reply for turn in chats[first].values() for reply in turn.replies}
            assert chats[first][second].user.startswith("question ")
        else:
            pieces += 1
            assert f".{second}>" in replies[first].text, (replies[first], second)
            assert replies[first].state is not ReplyState.STREAMING
    for turns in chats.values():
        assert [turn.user for turn in turns.values()] == [f"question {n}" for n in range(len(turns))]
    store.close()
print(killed, messages, pieces)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def answer(n: int, pieces: int) -> str:
    return "".join(f"<{n}.{k} ünï>" for k in range(pieces))


def check(store: HistoryStore, chat: int, confirmed: list[str]) -> None:
    """All that was confirmed is there, and no more than the one call that may have been under way."""
    found = store.conversation(chat)
    turns = confirmed.count("turn")
    assert turns <= len(found.turns) <= turns + 1
    for n, turn in enumerate(found.turns):
        assert turn.user == f"question {n}"
        assert turn.parent == (found.turns[n - 1].id if n else None)
    for n in range(turns - 1):
        reply = found.turns[n].reply
        assert reply is not None
        assert (reply.text, reply.state) == (answer(n, PIECES), ReplyState.COMPLETE)
    if not turns:
        return
    tail = confirmed[len(confirmed) - confirmed[::-1].index("turn") :]
    reply = found.turns[turns - 1].reply
    pieces = tail.count("piece")
    if reply is None:
        assert not pieces
        return
    assert reply.text in (answer(turns - 1, pieces), answer(turns - 1, pieces + 1))
    if "closed" in tail:
        assert reply.state is ReplyState.COMPLETE
    elif pieces < PIECES:
        assert reply.state is ReplyState.INTERRUPTED
    else:
        assert reply.state in (ReplyState.INTERRUPTED, ReplyState.COMPLETE)


def test_a_killed_writer_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    chance = random.Random(20240)
    history: list[tuple[int, list[str]]] = []
    for _ in range(10):
        with start(WRITER, str(path)) as process:
            assert process.stdout is not None
            chat = int(process.stdout.readline().split()[1])
            # By what was confirmed, and a moment: on a busy machine the clock alone would kill it before it wrote.
            confirmed = [process.stdout.readline().strip() for _ in range(chance.randrange(40))]
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            history.append((chat, confirmed + process.stdout.read().split()))
        store = HistoryStore.open(path)
        for earlier in history:
            check(store, *earlier)
        store.close()
    assert any("piece" in confirmed for _, confirmed in history)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT COUNT(*) FROM reply WHERE state = 'streaming'").fetchone() == (0,)
        assert db.execute("SELECT COUNT(*) FROM fragment").fetchone() == (0,)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no fork, and cannot be killed so often in a test")
def test_two_hundred_kills_lose_no_message_and_no_journalled_text(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    run = subprocess.run(
        [sys.executable, "-c", NURSERY, str(path), str(seed), "100"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"seed {seed}: {run.stderr[-3000:]}"
    killed, messages, pieces = map(int, run.stdout.split())
    assert killed == 200
    assert min(messages, pieces) > 100
    with closing(sqlite3.connect(path)) as db:
        search.register(db)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT COUNT(*) FROM fragment").fetchone() == (0,)
        db.execute("INSERT INTO words (words) VALUES ('integrity-check')")


def test_the_reply_of_another_window_streams_until_that_window_dies(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    store = HistoryStore.open(path)
    with start(STREAMER, str(path)) as process:
        assert process.stdout is not None
        chat = int(process.stdout.readline())
        alive = store.conversation(chat).turns[0].reply
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        if os.name == "posix":
            # Dead, but not waited for: the pid still exists.
            child = psutil.Process(process.pid)
            while child.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.005)
        else:
            process.wait()
        dead = store.conversation(chat).turns[0].reply
    store.close()
    assert alive is not None
    assert (alive.text, alive.state) == ("still wri", ReplyState.STREAMING)
    assert dead is not None
    assert (dead.text, dead.state) == ("still wri", ReplyState.INTERRUPTED)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT text, state FROM reply").fetchall() == [("still wri", "interrupted")]


def left_by_a_killed_writer(path: Path) -> HistoryStore:
    with start(STREAMER, str(path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    return HistoryStore.open(path)


def test_what_a_killed_writer_wrote_is_found_without_opening_its_chat(tmp_path: Path) -> None:
    store = left_by_a_killed_writer(tmp_path / "history.db")
    store.housekeep()
    assert [hit.snippet for hit in store.search.find("still")] == ["still wri"]
    store.close()


def test_a_chat_cut_off_by_a_crash_goes_on(tmp_path: Path) -> None:
    store = left_by_a_killed_writer(tmp_path / "history.db")
    chat = store.latest()
    assert chat is not None
    turn = store.add_turn(chat.id, chat.turns[-1].id, "go on")
    assert store.conversation(chat.id).turns == (*chat.turns, turn)
    store.close()


@pytest.mark.parametrize("attempt", range(3))
def test_two_processes_make_and_fill_one_file(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / f"new{attempt}" / "history.db"
    names = ["left", "right"]
    processes = [start(FILLER, str(path), name) for name in names]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    store = HistoryStore.open(path)
    chats = {summary.title: store.conversation(summary.id) for summary in store.list_conversations()}
    store.close()
    assert sorted(chats) == names
    for name, chat in chats.items():
        assert [turn.user for turn in chat.turns] == [f"{name} {n}" for n in range(40)]
        assert [turn.replies[0].text for turn in chat.turns] == [str(n) * 5 for n in range(40)]


def test_threads_share_one_store(tmp_path: Path) -> None:
    store = HistoryStore.open(tmp_path / "history.db")
    shared = store.create_conversation()
    common = store.add_reply(store.add_turn(shared.id, None, "x").id)

    def hold(name: int) -> int:
        chat = store.create_conversation(title=str(name))
        parent = None
        for n in range(15):
            parent = store.add_turn(chat.id, parent, f"{name} {n}").id
            reply = store.add_reply(parent)
            store.append_text(reply.id, f"{name}")
            store.append_text(common.id, f"[{name}]")
            store.append_text(reply.id, f".{n}")
            store.close_reply(reply.id, ReplyState.COMPLETE)
            store.conversation(shared.id)
        return chat.id

    with ThreadPoolExecutor(8) as pool:
        chats = list(pool.map(hold, range(8)))
    for name, chat in enumerate(chats):
        turns = store.conversation(chat).turns
        assert [turn.user for turn in turns] == [f"{name} {n}" for n in range(15)]
        assert [turn.replies[0].text for turn in turns] == [f"{name}.{n}" for n in range(15)]
    text = store.close_reply(common.id, ReplyState.COMPLETE).text
    store.close()
    assert sorted(text.replace("[", "").split("]")[:-1]) == sorted(str(name) for name in range(8) for _ in range(15))
