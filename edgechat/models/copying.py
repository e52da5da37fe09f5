"""Copies a model, hashing it on the way, and makes what was written survive a power cut.

Reading and writing fail for different people: a source that cannot be read is the model's fault, a target that cannot
be written is the disk's. Nothing here decides where a model goes or what it is called; `store` does.
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
from edgechat.models.manifest import CHUNK, Digest, Progress
from edgechat.models.safe_walk import ModelFile
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.regular_files import open_regular

_SPARE = 16_000_000
"""Bytes left free beside the model, for the manifest and for whatever else the device is doing."""

WRITE_BYTES = 64 * 1024
"""Newer kernels keep what one write brought as one piece of their file cache, and map it as a whole; with large writes
the embeddings, of which a token needs one row, would all count as the worker's memory."""


def need_space(folder: Path, size: int) -> None:
    """Raise StorageError, telling the size needed and the size free, if that much does not fit below the folder."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # some network drives do not tell; the copy itself will
    if free < size + _SPARE:
        raise StorageError(
            "Not enough space",
            f"The model needs {size_text(size)}, and {size_text(max(0, free - _SPARE))} are free in {folder}.",
            "Free some space, remove a model (`edgechat models remove NAME`), or set EDGECHAT_HOME to another disk.",
        )


def copy_files(
    files: Sequence[ModelFile], target: Path, *, link: bool = False, progress: Progress | None = None
) -> Mapping[str, Digest]:
    """Copy, or hard-link, the files of a model into an empty folder.

    Args:
        files: What `tree.walk` listed.
        target: An empty folder.
        link: Hard-link where the file system can; files that cannot be linked are copied.
        progress: Told the bytes read so far.

    Returns:
        What each file is, computed from the bytes that were copied.

    Raises:
        ModelError: A file of the source cannot be read, or changed since it was listed.
        StorageError: The target cannot be written, or is full.
    """
    total = sum(file.size for file in files)
    done = 0
    digests: dict[str, Digest] = {}
    for file in files:
        goal = target / file.relative
        with writing(target):
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        linked = link and _link(file.path, goal)
        digest, size = hashlib.sha256(), 0
        for chunk in _copied(file.path, None if linked else goal):
            digest.update(chunk)
            size += len(chunk)
            if progress is not None:
                progress(min(done + size, total), total)
        if size != file.size:
            raise ModelError(
                "Model changed while it was read",
                f"{shown(file.relative)} was {counted(file.size, 'byte')} long, then {size:,}.",
                "Wait until whatever writes the folder has finished, then try again.",
            )
        done += size
        digests[file.relative] = Digest(size, digest.hexdigest())
    return digests


def sync_tree(folder: Path) -> None:
    """Have the system write everything below a folder to the disk. Raises StorageError."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            with writing(folder):
                sync_file(Path(path) / name)
        sync_folder(Path(path))


def sync_folder(folder: Path) -> None:
    """Have the system write the names in a folder to the disk, where it can."""
    with suppress(OSError):  # Windows opens no folders; some file systems sync none
        sync_file(folder)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError about the folder that was written to."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageError(
                "Not enough space",
                f"The disk became full while writing to {folder}.",
                "Free some space and try again; nothing was installed.",
            ) from error
        raise StorageError(
            "Folder cannot be written",
            f"{error.filename or folder}: {error.strerror or error}.",
            "Make the folder writable, or set EDGECHAT_HOME to one that is.",
        ) from error


def _copied(source: Path, goal: Path | None) -> Iterator[bytes]:
    """The chunks of a file, each written to the goal before it is yielded."""
    try:
        reader = open_regular(source)
    except OSError as error:
        raise _unreadable(source, error) from error
    with reader:
        writer = None
        if goal is not None:
            with writing(goal.parent):
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
                    with writing(goal.parent):
                        _write_all(writer.fileno(), chunk)
                yield chunk
        finally:
            if writer is not None:
                writer.close()


def _write_all(descriptor: int, chunk: bytes) -> None:
    # A nearly full disk takes a part of the chunk and says so only in the count.
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view[:WRITE_BYTES]) :]


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        "Model file cannot be read", f"{path}: {error.strerror or error}.", "Check that you may read it, and its disk."
    )


def _link(source: Path, goal: Path) -> bool:
    try:
        os.link(source, goal)
    except OSError:
        return False  # another disk, or a file system without links: a copy does
    return True


def sync_file(path: Path) -> None:
    """Have the system write a file, or a folder's names, to the disk. Raises OSError."""
    # Windows flushes only what was opened for writing; a hard-linked file may not be writable, and is on disk already.
    flags = os.O_RDWR if os.name == "nt" and path.is_file() else os.O_RDONLY
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
