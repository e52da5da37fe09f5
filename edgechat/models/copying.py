"""Copies a model, hashing it in the same pass, and makes the result survive a power cut.

Read and write errors are reported differently: an unreadable source is the model's fault, an unwritable target the
disk's. Nothing here decides where a model goes or what it is called; `store` does.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgechat.errors import ModelError, StorageError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence
from edgechat.models.manifest import CHUNK, Digest
from edgechat.models.safe_walk import ModelFile
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.progress import ByteCallback
from edgechat.runtime.regular_files import open_regular

_SPARE = 16_000_000
"""Bytes to leave free besides the model, for its manifest and other activity on the device."""

WRITE_BYTES = 64 * 1024
"""Newer kernels cache and map the data of one write as a single unit; with large writes all embeddings would count as
the worker's memory although a token needs a single row."""


def require_space(folder: Path, size: int) -> None:
    """Raise StorageError with the needed and available sizes if the folder's disk lacks space."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # some network drives do not report it; the copy itself will fail
    if free < size + _SPARE:
        raise StorageError(
            "Not enough space",
            Sentence(
                "The model needs {size}, and {max} are free in {folder}.",
                size=size_text(size),
                max=size_text(max(0, free - _SPARE)),
                folder=folder,
            ),
            "Free some space, remove a model (`edgechat models remove NAME`), or set EDGECHAT_HOME to another disk.",
        )


def copy_files(
    files: Sequence[ModelFile], target: Path, *, link: bool = False, on_progress: ByteCallback | None = None
) -> Mapping[str, Digest]:
    """Copy or hard-link the files of a model into an empty folder.

    Args:
        files: The result of `safe_walk.walk`.
        target: An empty folder.
        link: Hard-link where the file system supports it; other files are copied.
        on_progress: Called with bytes read and total.

    Returns:
        Digests by relative path, computed from the bytes that were copied.

    Raises:
        ModelError: A source file cannot be read, or has changed since it was listed.
        StorageError: The target cannot be written, or is full.
    """
    total = sum(file.size for file in files)
    done = 0
    digests: dict[str, Digest] = {}
    for file in files:
        goal = target / file.relative
        with storage_errors(target):
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        linked = link and _link(file.path, goal)
        digest, size = hashlib.sha256(), 0
        for chunk in _copy_chunks(file.path, None if linked else goal):
            digest.update(chunk)
            size += len(chunk)
            if on_progress is not None:
                on_progress(min(done + size, total), total)
        if size != file.size:
            raise ModelError(
                "Model changed while it was read",
                Sentence(
                    "{relative} was {size} long, then {size2}.",
                    relative=shown(file.relative),
                    size=counted(file.size, "byte"),
                    size2=f"{size:,}",
                ),
                "Wait until whatever writes the folder has finished, then try again.",
            )
        done += size
        digests[file.relative] = Digest(size, digest.hexdigest())
    return digests


def sync_tree(folder: Path) -> None:
    """Flush everything below a folder to disk. Raises StorageError."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            with storage_errors(folder):
                sync_file(Path(path) / name)
        sync_folder(Path(path))


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to disk, where supported."""
    with suppress(OSError):  # Windows cannot open folders; some file systems cannot sync them
        sync_file(folder)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError in the block into a StorageError about the folder being written."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageError(
                "Not enough space",
                Sentence("The disk became full while writing to {folder}.", folder=folder),
                "Free some space and try again; nothing was installed.",
            ) from error
        raise StorageError(
            "Folder cannot be written",
            Sentence("{filename}: {strerror}.", filename=error.filename or folder, strerror=error.strerror or error),
            "Make the folder writable, or set EDGECHAT_HOME to one that is.",
        ) from error


def _copy_chunks(source: Path, goal: Path | None) -> Iterator[bytes]:
    """Yield the chunks of a file, each after writing it to `goal`."""
    try:
        reader = open_regular(source)
    except OSError as error:
        raise _unreadable(source, error) from error
    with reader:
        writer = None
        if goal is not None:
            with storage_errors(goal.parent):
                writer = goal.open("xb", buffering=0)
        try:
            while True:
                try:
                    chunk = reader.read(CHUNK)
                except OSError as error:
                    raise _unreadable(source, error) from error
                if not chunk:
                    break
                if writer is not None and goal is not None:
                    with storage_errors(goal.parent):
                        _write_all(writer.fileno(), chunk)
                yield chunk
        finally:
            if writer is not None:
                writer.close()


def _write_all(descriptor: int, chunk: bytes) -> None:
    # A nearly full disk accepts part of the chunk and reports it only in the count.
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view[:WRITE_BYTES]) :]


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        "Model file cannot be read",
        Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error),
        "Check that you may read it, and its disk.",
    )


def _link(source: Path, goal: Path) -> bool:
    try:
        os.link(source, goal)
    except OSError:
        return False  # another disk, or a file system without links: copy instead
    return True


def sync_file(path: Path) -> None:
    """Flush a file or a folder's entries to disk. Raises OSError."""
    # Windows flushes only files opened for writing; a hard-linked file may be read-only, and is on disk already.
    flags = os.O_RDWR if os.name == "nt" and path.is_file() else os.O_RDONLY
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
