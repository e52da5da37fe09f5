"""The log of Simon Willison's `llm`: logs.db, an SQLite file with a row for each prompt and its response.

That is the traditional format; newer versions (0.36) write to other tables of the same file, which
`transfer.llm_threads` reads. A file may contain both.

The file belongs to another program and may be untrusted: it is opened read-only, nothing it defines is trusted, and its
content is limited and validated like any other import.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgechat.chat.sanitize import printable
from edgechat.errors import TransferError
from edgechat.history.migrations import APPLICATION_ID
from edgechat.history.transfer.common import count_of, placeholder, text_of, texts, title_of, utc
from edgechat.history.transfer.json_stream import LARGEST_ITEM
from edgechat.history.transfer.llm_threads import NEEDED, read_threads
from edgechat.history.transfer.schema import CarriedChat, CarriedReply, CarriedTurn
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 2.0
"""Seconds to wait for `llm` to finish writing a response."""

_RESPONSES = ("id", "model", "prompt", "response", "conversation_id", "datetime_utc")
_USED = (*_RESPONSES, "system", "input_tokens", "output_tokens")


def read_llm(path: Path, notes: Counter[str]) -> Iterator[CarriedChat]:
    """Yield the chats of the log.

    Args:
        path: The file; it is not changed, and nothing is created next to it.
        notes: Counts what to report to the user.

    Raises:
        TransferError: It is another program's database, damaged, locked, or contains something that is not a chat.
    """
    try:
        with closing(_open(path)) as db:
            yield from _chats(db, notes)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise TransferError(
                "File is busy", "Another program has locked it.", "Close that program, then try again."
            ) from error
        raise TransferError(
            "Log cannot be read", f"{printable(str(error))}.", "Copy it again from its source."
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    with path.open("rb") as file:
        writes_ahead = file.read(20)[18:] == b"\2\2"
    # Reading such a file creates two others next to it, and fails where that is impossible. If nobody has it open,
    # which shows in the absence of its log, it can be opened as immutable; otherwise it is locked.
    unchanging = writes_ahead and not path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if unchanging else ''}"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA query_only = ON")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_ITEM)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return db


def _chats(db: sqlite3.Connection, notes: Counter[str]) -> Iterator[CarriedChat]:
    db.execute("BEGIN")  # a consistent snapshot, whatever `llm` writes meanwhile
    tables = {
        name: {str(row[1]) for row in db.execute(f"PRAGMA table_info({name})")}
        for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        if name in _KNOWN and not str(sql).lstrip().upper().startswith("CREATE VIRTUAL")
    }
    threads = all(tables.get(name, set()) >= columns for name, columns in NEEDED.items())
    responses = tables.get("responses", set()).issuperset(_RESPONSES)
    if not threads and not responses:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        ours = application == APPLICATION_ID
        raise TransferError(
            "Not a log of llm",
            Sentence(
                "It is a {value}, without the tables of llm.",
                value="history of edgechat" if ours else "database of another program",
            ),
            "Its chats are carried with: edgechat chats export" if ours else "`llm logs path` tells where the log is.",
        )
    if responses:
        yield from _conversations(db, tables, notes)
    if threads:
        yield from read_threads(db, notes)


def _conversations(db: sqlite3.Connection, tables: dict[str, set[str]], notes: Counter[str]) -> Iterator[CarriedChat]:
    beside = _beside(db, tables, notes)
    columns = [f"r.{name}" for name in _USED if name in tables["responses"]]
    source = "responses r"
    if {"id", "name"} <= tables.get("conversations", set()):
        columns.append("c.name")
        source += " LEFT JOIN conversations c ON c.id = r.conversation_id"
    if "id" in tables.get("turns", set()):
        source += " WHERE r.id NOT IN (SELECT id FROM turns WHERE id IS NOT NULL)"  # as `llm logs` does
    names = [column.partition(".")[2] for column in columns]
    rows = (
        dict(zip(names, row, strict=True))
        for row in db.execute(
            f"SELECT {', '.join(columns)} FROM {source} ORDER BY r.conversation_id, r.datetime_utc, r.id"  # noqa: S608
        )
    )
    for _, group in groupby(rows, lambda row: (row["conversation_id"], row["conversation_id"] or row)):
        yield _chat(list(_bounded(group)), beside, notes)


def _bounded(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for row in rows:
        size += sum(len(value) for value in row.values() if isinstance(value, str | bytes)) + 100
        if size > LARGEST_ITEM:
            raise TransferError(
                "Chat is too large",
                Sentence("One chat is larger than {value} MB.", value=LARGEST_ITEM >> 20),
                "Take it out.",
            )
        yield row


def _chat(rows: list[dict[str, Any]], beside: _Beside, notes: Counter[str]) -> CarriedChat:
    turns: list[CarriedTurn] = []
    systems: list[str] = []
    for row in rows:
        id_ = str(row["id"])
        time = utc(row["datetime_utc"])
        system = "\n".join([*beside.system[id_], *texts(row.get("system"), notes)])
        if system:
            systems.append(system)
        user = "\n".join([*beside.prompt[id_], *texts(row["prompt"], notes), *beside.attachments[id_]])
        reply = CarriedReply(
            "".join(texts(row["response"], notes)),
            "complete",
            time,
            0.0,
            "".join(texts(row["model"], notes)),
            prompt_tokens=count_of(row.get("input_tokens")),
            completion_tokens=count_of(row.get("output_tokens")),
        )
        before = (len(turns) - 1, 0) if turns else (None, None)
        turns.append(CarriedTurn(user, time, before[0], (reply,), 0, follows=before[1]))
    if len(set(systems)) > 1:
        notes["system messages in the middle of a chat were left out"] += len(set(systems)) - 1
    return CarriedChat(
        title_of("".join(texts(rows[0].get("name"), notes)) or turns[0].user[:60], notes),
        turns[0].created,
        turns[-1].created,
        systems[0] if systems else "",
        turns[-1].replies[0].model,
        tuple(turns),
        len(turns) - 1,
    )


class _Beside:
    """What the log stores in other tables, by response."""

    def __init__(self) -> None:
        self.prompt: dict[str, list[str]] = defaultdict(list)
        self.system: dict[str, list[str]] = defaultdict(list)
        self.attachments: dict[str, list[str]] = defaultdict(list)


_KNOWN = frozenset(
    {
        "responses",
        "conversations",
        "fragments",
        "prompt_fragments",
        "system_fragments",
        "attachments",
        "prompt_attachments",
        "tool_calls",
        "tool_results",
        *NEEDED,
    }
)


def _beside(db: sqlite3.Connection, tables: dict[str, set[str]], notes: Counter[str]) -> _Beside:
    found = _Beside()
    size = 0

    def add(into: dict[str, list[str]], response: Any, texts: list[str]) -> None:
        nonlocal size
        size += sum(map(len, texts)) + 100
        if size > LARGEST_ITEM:
            raise TransferError(
                "Log is too large",
                Sentence("Its fragments exceed {value} MB.", value=LARGEST_ITEM >> 20),
                "Take some out.",
            )
        into[str(response)] += texts

    for kind, into in (("prompt", found.prompt), ("system", found.system)):
        if {f"{kind}_fragments", "fragments"} <= tables.keys():
            for response, content in db.execute(
                f"SELECT p.response_id, f.content FROM {kind}_fragments p JOIN fragments f ON f.id = p.fragment_id "  # noqa: S608
                'ORDER BY p.response_id, p."order"'
            ):
                add(into, response, texts(content, notes))
    if {"prompt_attachments", "attachments"} <= tables.keys():
        for response, kind, path, url in db.execute(
            "SELECT p.response_id, a.type, a.path, a.url FROM prompt_attachments p "
            'JOIN attachments a ON a.id = p.attachment_id ORDER BY p.response_id, p."order"'
        ):
            add(found.attachments, response, [text_of(placeholder("attachment", path or url or kind, notes), notes)])
    for table, words in (
        ("tool_calls", "calls of tools were left out"),
        ("tool_results", "outputs of tools were left out"),
    ):
        if table in tables:
            (count,) = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
            notes.update({words: count} if count else {})
    return found
