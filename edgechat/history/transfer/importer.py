"""Chats from a file into the history: all of a file or nothing of it, and nothing twice.

A file is read to its end and checked before the history is touched; what was read waits in a temporary file, so that
memory is bounded by the largest chat and the history is locked only for the writing. What the file is shows in its
first bytes and in its content, never in its name, and no name inside a file is ever used as a path.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import SEEK_END, BufferedReader
from pathlib import Path
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING

import msgspec

from edgechat.errors import StorageError, TransferError
from edgechat.history.transfer.chatgpt import read_chatgpt
from edgechat.history.transfer.common import decode
from edgechat.history.transfer.json_stream import LARGEST_ITEM, LIST_KEY, Items, Readable
from edgechat.history.transfer.llm import read_llm
from edgechat.history.transfer.openwebui import read_openwebui
from edgechat.history.transfer.records import created_at, put_below, read_with
from edgechat.history.transfer.schema import FORMAT, VERSION, CarriedChat, CarriedSettings, fault
from edgechat.settings.loader import in_bounds

if TYPE_CHECKING:
    import sqlite3

    from edgechat.history.database import Database

Progress = Callable[[str, int, int], None]
"""Is told what is being done, and how much of how much; the total is 0 where nobody knows."""

_IN_MEMORY = 32 << 20
_LARGEST_DIRECTORY = 64 << 20
_LARGEST_RATIO = 200  # text of chats is packed to a tenth or so of its size
_CONVERSATIONS = re.compile(r"(.*/)?conversations(-\d+)?\.json")


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        chats, turns, replies: What was added, or would be.
        known: Chats that were in the history already, and were left as they are.
        notes: What people should be told, and how often it happened.
    """

    chats: int = 0
    turns: int = 0
    replies: int = 0
    known: int = 0
    notes: Counter[str] = field(default_factory=Counter)


def import_chats(
    database: Database, source: Path | IO[bytes], *, dry_run: bool = False, progress: Progress | None = None
) -> Imported:
    """Add the chats of a file to the history, below those that are there.

    Args:
        database: The history.
        source: edgechat's own JSON, an export of ChatGPT or Open WebUI, or a log of `llm`: a file, or a stream of it.
        dry_run: Only tell what would be added.
        progress: Is told how far it has come.

    Raises:
        TransferError: The file cannot be read, is of no known form, or is damaged. Nothing was added.
        StorageError: The history cannot be read or written. Nothing was added.
    """
    notes: Counter[str] = Counter()
    told = progress or (lambda _what, _done, _total: None)
    name = str(source) if isinstance(source, Path) else "standard input"
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as waiting:
        staged: list[tuple[float, int, int]] = []
        with _in_words(name), _opened(source) as (file, path):
            for whole, ours in _chats(file, path, notes, told):
                chat = _bounded(whole, notes)
                packed = msgspec.msgpack.encode(chat)
                # Our own files are in the order of the history; of others the chat changed last comes last.
                staged.append((0.0 if ours else chat.updated, waiting.tell(), len(packed)))
                _keep(waiting, packed)
        staged.sort()

        def unpacked() -> Iterator[CarriedChat]:
            for n, (_, at, length) in enumerate(staged):
                told("comparing" if dry_run else "saving", n, len(staged))
                waiting.seek(at)
                yield msgspec.msgpack.decode(waiting.read(length), type=CarriedChat)

        return _add(database, unpacked(), len(staged), notes, dry_run=dry_run)


def _bounded(chat: CarriedChat, notes: Counter[str]) -> CarriedChat:
    """A chat without settings that no model can be asked for; what the user's settings say takes their place."""
    settings = chat.settings
    if settings is None:
        return chat
    given = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    wrong = [name for name, value in given.items() if not in_bounds(name, value)]
    for name in wrong:
        notes[f"values of {name!r} are out of range and were left out"] += 1
    kept = {name: value for name, value in given.items() if name not in wrong}
    return msgspec.structs.replace(chat, settings=CarriedSettings(**kept) if kept else None)


def _add(
    database: Database, chats: Iterator[CarriedChat], count: int, notes: Counter[str], *, dry_run: bool
) -> Imported:
    totals: Counter[str] = Counter()

    def new(db: sqlite3.Connection) -> Iterator[CarriedChat]:
        # Compared with what was there before: a file may hold two chats that are alike.
        there = created_at(db)
        marks: dict[int, frozenset[bytes]] = {}
        for chat in chats:
            own = fingerprints(chat)
            for id_ in there.get(chat.created, ()):
                if id_ not in marks:
                    marks[id_] = fingerprints(read_with(db, id_))
                if own <= marks[id_]:
                    totals["known"] += 1
                    break
            else:
                totals["chats"] += 1
                totals["turns"] += len(chat.turns)
                totals["replies"] += sum(len(turn.replies) for turn in chat.turns)
                yield chat

    if dry_run:
        with database.reading() as db:
            for _ in new(db):
                pass
    else:
        with database.writing() as db:
            for name, times in put_below(db, new(db), count).items():
                notes[f"values of {name!r} could not be kept by this history"] += times
    return Imported(totals["chats"], totals["turns"], totals["replies"], totals["known"], notes)


def fingerprints(chat: CarriedChat) -> frozenset[bytes]:
    """What a chat says, as digests: one a turn, with all before it, and one a reply.

    A chat whose digests are all in another of the same time has nothing that the other has not, even if that was
    renamed or went on since.
    """
    marks: list[bytes] = []
    replies: list[bytes] = []
    for turn in chat.turns:
        before = b"" if turn.parent is None else marks[turn.parent]
        marks.append(_digest(before, turn.user, turn.created))
        replies += [_digest(marks[-1], reply.text, reply.created) for reply in turn.replies]
    return frozenset(marks + replies)


def _digest(before: bytes, text: str, created: float) -> bytes:
    return hashlib.blake2b(before + struct.pack("<d", created + 0.0) + text.encode(), digest_size=16).digest()


def _chats(
    file: BufferedReader, path: Path | None, notes: Counter[str], progress: Progress
) -> Iterator[tuple[CarriedChat, bool]]:
    """The chats of a file, and whether they are in edgechat's own form."""
    head = file.peek(16)[:16]
    if head.startswith(b"SQLite format 3\0"):
        with _on_disk(file, path) as copy:
            for chat in read_llm(copy, notes):
                yield chat, False
    elif head.startswith(b"PK"):
        with _on_disk(file, path) as copy, _archive_in_words():
            for entry, size in _zipped(copy):
                yield from _json(_Counted(entry, size, progress), notes)
    else:
        yield from _json(_Counted(file, path.stat().st_size if path else 0, progress), notes)


def _json(file: Readable, notes: Counter[str]) -> Iterator[tuple[CarriedChat, bool]]:
    items = Items(file)
    members: dict[str, bytes] = {}
    size = count = 0
    for key, raw in items:
        if key is None or key == LIST_KEY:
            if "version" in members:
                _check_form(members)
            count += 1
            with _in_chat(count):
                yield _own(raw) if key else _foreign(raw, notes)
        else:
            members[key] = raw
            size += len(key) + len(raw) + 100
            if size > LARGEST_ITEM:
                raise TransferError(
                    "Not a file of chats", f"One chat is larger than {LARGEST_ITEM >> 20} MB.", "Take that chat out."
                )
    if items.listed:
        return
    if count or "format" in members:
        _check_form(members)
    else:
        yield _foreign(_object(members), notes)


def _object(members: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + raw for key, raw in members.items()) + b"}"


class _Form(msgspec.Struct):
    """By what edgechat's own file is known."""

    format: str = ""
    version: int = 0


def _check_form(members: dict[str, bytes]) -> None:
    form = decode(_object({name: members[name] for name in ("format", "version") if name in members}), _Form)
    if form.format != FORMAT:
        raise _unknown(members)
    if form.version > VERSION:
        raise TransferError(
            "File is from a newer edgechat",
            f"It has version {form.version}, and this edgechat knows versions up to {VERSION}.",
            "Import it with the newer edgechat.",
        )


def _own(raw: bytes) -> tuple[CarriedChat, bool]:
    chat = decode(raw, CarriedChat)
    if wrong := fault(chat):
        raise TransferError("Chat is damaged", f"{wrong[0].upper()}{wrong[1:]}.", "Export it again.")
    return chat, True


class _Known(msgspec.Struct):
    """By what the chats of each program are known."""

    mapping: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    chat: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    history: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def _foreign(raw: bytes, notes: Counter[str]) -> tuple[CarriedChat, bool]:
    known = decode(raw, _Known)
    if known.mapping is not msgspec.UNSET:
        return read_chatgpt(raw, notes), False
    if known.chat is not msgspec.UNSET:
        return read_openwebui(raw, notes, bare=False), False
    if known.history is not msgspec.UNSET:
        return read_openwebui(raw, notes, bare=True), False
    raise _unknown(decode(raw, dict[str, msgspec.Raw]))


def _unknown(found: dict[str, bytes] | dict[str, msgspec.Raw]) -> TransferError:
    names = ", ".join(list(found)[:6]) or "nothing"
    return TransferError(
        "Unknown kind of file",
        f"It is JSON, but no chats that edgechat knows: it has {names[:200]}.",
        "edgechat imports its own JSON, the exports of ChatGPT and Open WebUI, and the logs.db of llm.",
    )


def _zipped(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The conversations of ChatGPT's archive, and their sizes. Nothing is unpacked to the disk."""
    length = path.stat().st_size
    _check_directory(path, length)
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if _CONVERSATIONS.fullmatch(entry.filename)]
        if not entries:
            raise TransferError(
                "Unknown kind of file",
                "The archive has no conversations.json in it.",
                "Give the archive that ChatGPT sent, or the file itself.",
            )
        # `zipfile` gives no more of an entry than its size says.
        if sum(entry.file_size for entry in entries) > _LARGEST_RATIO * length:
            raise TransferError(
                "Archive is not believable",
                f"It would unpack to more than {_LARGEST_RATIO} times its size.",
                "Unpack it by hand, if it is from a source that can be trusted.",
            )
        for entry in sorted(entries, key=lambda entry: entry.filename):
            with archive.open(entry) as file:
                yield file, entry.file_size


@contextmanager
def _archive_in_words() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise TransferError(
            "Archive is damaged", f"{str(error) or 'It ends too soon'}.", "Download it again."
        ) from error


def _check_directory(path: Path, length: int) -> None:
    """Refuse a list of entries that would fill the memory; `zipfile` reads it whole."""
    with path.open("rb") as file:
        file.seek(-min(length, 22 + 0xFFFF), SEEK_END)
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end >= 0 and len(tail) >= end + 16 and struct.unpack_from("<L", tail, end + 12)[0] > _LARGEST_DIRECTORY:
        raise TransferError("Archive is not believable", "Its list of entries is too long.", "Unpack it by hand.")


class _Counted:
    """A file that tells how far it was read."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._done = 0
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._progress("reading", self._done, self._size)
        return data


@contextmanager
def _opened(source: Path | IO[bytes]) -> Iterator[tuple[BufferedReader, Path | None]]:
    """The file, and where it lies; what is not a regular file lies nowhere that could be read twice."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file, source if stat.S_ISREG(source.stat().st_mode) else None
    else:
        yield BufferedReader(source), None  # type: ignore[arg-type]  # every binary stream has readinto


@contextmanager
def _on_disk(file: BufferedReader, path: Path | None) -> Iterator[Path]:
    """The file as one on the disk that can be read at any place: itself, or a copy of what a pipe gives."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chats"
        with copy.open("wb") as out:
            copyfileobj(file, out)
        yield copy


def _keep(waiting: IO[bytes], packed: bytes) -> None:
    try:
        waiting.write(packed)
    except OSError as error:
        raise StorageError(
            "Disk is full", f"{tempfile.gettempdir()}: {error.strerror or error}.", "Free some space, then try again."
        ) from error


@contextmanager
def _in_chat(number: int) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(error.title, f"Chat {number}: {error.message}", error.hint) from error


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(
            error.title, f"{name}: {error.message}", f"{error.hint} Nothing was imported.".lstrip()
        ) from error
    except OSError as error:
        raise TransferError("File cannot be read", f"{name}: {error.strerror or error}.", "Check it.") from error
