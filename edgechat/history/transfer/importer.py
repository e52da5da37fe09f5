"""Imports chats from a file into the history, all or nothing, without duplicates.

A file is read completely and validated before the history is touched; chats are staged in a temporary file, so that
memory is bounded by the largest chat and the history is locked only while writing. The file's type is determined from
its content, never its name, and no name inside a file is ever used as a path.
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
from collections.abc import Iterator
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
from edgechat.history.transfer.records import add_below, created_at, read_with
from edgechat.history.transfer.schema import FORMAT, VERSION, CarriedChat, CarriedSettings, fault
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.progress import StepCallback
from edgechat.settings.loader import in_bounds

if TYPE_CHECKING:
    import sqlite3

    from edgechat.history.database import Database

_IN_MEMORY = 32 << 20
_LARGEST_DIRECTORY = 64 << 20
_LARGEST_RATIO = 200  # chat text compresses to about a tenth of its size
_CONVERSATIONS = re.compile(r"(.*/)?conversations(-\d+)?\.json")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        chats, turns, replies: What was added, or would be.
        known: Number of chats already in the history, which were left unchanged.
        notes: What to report to the user, with counts.
    """

    chats: int = 0
    turns: int = 0
    replies: int = 0
    known: int = 0
    notes: Counter[str] = field(default_factory=Counter)


def import_chats(
    database: Database, source: Path | IO[bytes], *, dry_run: bool = False, on_progress: StepCallback | None = None
) -> Imported:
    """Add the chats of a file to the history, below the existing ones.

    Args:
        database: The history.
        source: edgechat's own JSON, an export from ChatGPT or Open WebUI, or a log of `llm`: a file or a stream.
        dry_run: Only determine what would be added.
        on_progress: Called with the current step, the amount done and the total.

    Raises:
        TransferError: The file cannot be read, has an unknown format, or is damaged. Nothing was added.
        StorageError: The history cannot be read or written. Nothing was added.
    """
    notes: Counter[str] = Counter()
    report = on_progress or (lambda _what, _done, _total: None)
    name = str(source) if isinstance(source, Path) else "standard input"
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as waiting:
        staged: list[tuple[float, int, int]] = []
        with _translate_errors(name), _opened(source) as (file, path):
            for whole, ours in _chats(file, path, notes, report):
                chat = _bounded(whole, notes)
                packed = msgspec.msgpack.encode(chat)
                # Our own files are in history order; for others, the most recently changed chat comes last.
                staged.append((0.0 if ours else chat.updated, waiting.tell(), len(packed)))
                _stage(waiting, packed)
        staged.sort()

        def unpacked() -> Iterator[CarriedChat]:
            for n, (_, at, length) in enumerate(staged):
                report("comparing" if dry_run else "saving", n, len(staged))
                waiting.seek(at)
                yield msgspec.msgpack.decode(waiting.read(length), type=CarriedChat)

        return _add(database, unpacked(), len(staged), notes, dry_run=dry_run)


def _bounded(chat: CarriedChat, notes: Counter[str]) -> CarriedChat:
    """Drop settings with invalid values from a chat; the user's settings then apply."""
    settings = chat.settings
    if settings is None:
        return chat
    values = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    wrong = [name for name, value in values.items() if not in_bounds(name, value)]
    for name in wrong:
        notes[f"values of {name!r} are out of range and were left out"] += 1
    valid = {name: value for name, value in values.items() if name not in wrong}
    return msgspec.structs.replace(chat, settings=CarriedSettings(**valid) if valid else None)


def _add(
    database: Database, chats: Iterator[CarriedChat], count: int, notes: Counter[str], *, dry_run: bool
) -> Imported:
    totals: Counter[str] = Counter()

    def new(db: sqlite3.Connection) -> Iterator[CarriedChat]:
        # Compared with what existed before: a file may contain two identical chats.
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
            for name, times in add_below(db, new(db), count).items():
                notes[f"values of {name!r} could not be kept by this history"] += times
    return Imported(totals["chats"], totals["turns"], totals["replies"], totals["known"], notes)


def fingerprints(chat: CarriedChat) -> frozenset[bytes]:
    """Return digests of a chat's content: one per turn, including everything before it, and one per reply.

    A chat whose digests are all contained in another one of the same time adds nothing to it, even if that one was
    renamed or continued since.
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
    file: BufferedReader, path: Path | None, notes: Counter[str], on_progress: StepCallback
) -> Iterator[tuple[CarriedChat, bool]]:
    """Yield the chats of a file, and whether they are in edgechat's own format."""
    head = file.peek(16)[:16]
    if head.startswith(b"SQLite format 3\0"):
        with _on_disk(file, path) as copy:
            for chat in read_llm(copy, notes):
                yield chat, False
    elif head.startswith(b"PK"):
        with _on_disk(file, path) as copy, _translate_archive_errors():
            for entry, size in _zipped(copy):
                yield from _json(_Counted(entry, size, on_progress), notes)
    else:
        yield from _json(_Counted(file, path.stat().st_size if path else 0, on_progress), notes)


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
                    "Not a file of chats",
                    Sentence("One chat is larger than {value} MB.", value=LARGEST_ITEM >> 20),
                    "Take that chat out.",
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
    """Identifies edgechat's own files."""

    format: str = ""
    version: int = 0


def _check_form(members: dict[str, bytes]) -> None:
    form = decode(_object({name: members[name] for name in ("format", "version") if name in members}), _Form)
    if form.format != FORMAT:
        raise _unknown(members)
    if form.version > VERSION:
        raise TransferError(
            "File is from a newer edgechat",
            Sentence(
                "It has version {version}, and this edgechat knows versions up to {version2}.",
                version=form.version,
                version2=VERSION,
            ),
            "Import it with the newer edgechat.",
        )


def _own(raw: bytes) -> tuple[CarriedChat, bool]:
    chat = decode(raw, CarriedChat)
    if wrong := fault(chat):
        raise TransferError(
            "Chat is damaged",
            Sentence("{wrong}{wrong2}.", wrong=wrong[0].upper(), wrong2=wrong[1:]),
            "Export it again.",
        )
    return chat, True


class _Known(msgspec.Struct):
    """Identifies each program's chats."""

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
        Sentence("It is JSON, but no chats that edgechat knows: it has {names}.", names=names[:200]),
        "edgechat imports its own JSON, the exports of ChatGPT and Open WebUI, and the logs.db of llm.",
    )


def _zipped(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Yield the conversations in ChatGPT's archive and their sizes. Nothing is extracted to disk."""
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
        # `zipfile` reads no more of an entry than its declared size.
        if sum(entry.file_size for entry in entries) > _LARGEST_RATIO * length:
            raise TransferError(
                "Archive is not believable",
                Sentence("It would unpack to more than {largest_ratio} times its size.", largest_ratio=_LARGEST_RATIO),
                "Unpack it by hand, if it is from a source that can be trusted.",
            )
        for entry in sorted(entries, key=lambda entry: entry.filename):
            with archive.open(entry) as file:
                yield file, entry.file_size


@contextmanager
def _translate_archive_errors() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise TransferError(
            "Archive is damaged", f"{str(error) or 'It ends too soon'}.", "Download it again."
        ) from error


def _check_directory(path: Path, length: int) -> None:
    """Refuse a directory that would fill the memory, since `zipfile` reads it completely."""
    with path.open("rb") as file:
        file.seek(-min(length, 22 + 0xFFFF), SEEK_END)
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end >= 0 and len(tail) >= end + 16 and struct.unpack_from("<L", tail, end + 12)[0] > _LARGEST_DIRECTORY:
        raise TransferError("Archive is not believable", "Its list of entries is too long.", "Unpack it by hand.")


class _Counted:
    """A file that reports how far it has been read."""

    def __init__(self, file: IO[bytes], size: int, on_progress: StepCallback) -> None:
        self._file = file
        self._size = size
        self._done = 0
        self._on_progress = on_progress

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._on_progress("reading", self._done, self._size)
        return data


@contextmanager
def _opened(source: Path | IO[bytes]) -> Iterator[tuple[BufferedReader, Path | None]]:
    """Open the source; the path is None unless it is a regular file, which can be read twice."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file, source if stat.S_ISREG(source.stat().st_mode) else None
    else:
        yield BufferedReader(source), None  # type: ignore[arg-type]  # every binary stream has readinto


@contextmanager
def _on_disk(file: BufferedReader, path: Path | None) -> Iterator[Path]:
    """Provide a seekable file on disk: the source itself, or a copy of what a pipe delivers."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chats"
        with copy.open("wb") as out:
            copyfileobj(file, out)
        yield copy


def _stage(waiting: IO[bytes], packed: bytes) -> None:
    try:
        waiting.write(packed)
    except OSError as error:
        raise StorageError(
            "Disk is full",
            Sentence("{gettempdir}: {strerror}.", gettempdir=tempfile.gettempdir(), strerror=error.strerror or error),
            "Free some space, then try again.",
        ) from error


@contextmanager
def _in_chat(number: int) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(
            error.title, Sentence("Chat {number}: {message}", number=number, message=error.message), error.hint
        ) from error


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise TransferError(
            error.title,
            Sentence("{name}: {message}", name=name, message=error.message),
            f"{error.hint} Nothing was imported.".lstrip(),
        ) from error
    except OSError as error:
        raise TransferError(
            "File cannot be read",
            Sentence("{name}: {strerror}.", name=name, strerror=error.strerror or error),
            "Check it.",
        ) from error
