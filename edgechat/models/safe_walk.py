"""Every file of a model folder, with the promise that none of them is somewhere else.

A model is a folder from a stranger. A link in it that leads out would have edgechat read, copy or publish a file of the
user's; a pipe or a device would hang whoever opens it. So nobody else in this room lists a folder: `walk` does, and it
never returns what it did not check.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from edgechat.errors import ModelError
from edgechat.models.sanitize import shown

_MOST_FILES = 20_000
"""More entries than any model has; folders linking to folders could otherwise multiply without end."""

_DEEPEST = 32
"""Folders within folders; a real model has three or four."""


WITHOUT_LINKS = "If the files are yours, make a copy with the links replaced by files: cp -rL FOLDER COPY"
"""The next step for a user whose own model is made of links."""

_NOT_SO = "Give the folder of the model alone."

_NO_FILES = "No model needs pipes, sockets or devices: make a copy without it, or get the model again."

_READABLE = "Check that the file is there and that you may read it."


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One regular file of a model.

    Attributes:
        relative: Its path below the folder that was walked, with forward slashes.
        path: Where its bytes are: the same place, or the target of a link inside the model.
        size: Bytes.
        mtime_ns: When it was last changed.
    """

    relative: str
    path: Path
    size: int
    mtime_ns: int


def walk(
    folder: Path, *, root: Path | None = None, on_bad: Callable[[str, ModelError], None] | None = None
) -> tuple[ModelFile, ...]:
    """List every file below a folder, sorted by its relative path.

    Links are followed as long as they stay inside the model.

    Args:
        folder: The folder to list, resolved.
        root: The model it is part of, resolved; links may lead anywhere in it. The folder itself when left out.
        on_bad: Called with the relative path and the error for each entry that cannot be listed, in place of raising.

    Raises:
        ModelError: An entry is a link that leaves the root or leads nowhere, is no regular file, or cannot be read.
    """
    return tuple(
        sorted(_Walk(root if root is not None else folder, on_bad).below(folder, "", (folder,)), key=_relative)
    )


def _relative(file: ModelFile) -> str:
    return file.relative


class _Walk:
    """One listing in progress."""

    def __init__(self, root: Path, on_bad: Callable[[str, ModelError], None] | None) -> None:
        self._root = root
        self._on_bad = on_bad
        self._seen = 0

    def below(self, folder: Path, prefix: str, chain: tuple[Path, ...]) -> Iterator[ModelFile]:
        if len(chain) > _DEEPEST:
            raise ModelError("Not a model folder", f"{self._root} has folders nested deeper than {_DEEPEST}.", _NOT_SO)
        try:
            found = self._listed(folder)
        except OSError as error:
            self._bad(prefix.rstrip("/") or ".", f"{folder} cannot be read: {error.strerror or error}.", _READABLE)
            return
        for entry in found:
            yield from self._entry(entry, prefix + entry.name, chain)

    def _listed(self, folder: Path) -> list[os.DirEntry[str]]:
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:  # counted here: a list of a folder with millions of files would fill the memory
                self._seen += 1
                if self._seen > _MOST_FILES:
                    raise ModelError(
                        "Not a model folder", f"{self._root} holds more than {_MOST_FILES:,} files.", _NOT_SO
                    )
                found.append(entry)
        return found

    def _entry(self, entry: os.DirEntry[str], relative: str, chain: tuple[Path, ...]) -> Iterator[ModelFile]:
        path = Path(entry.path)
        try:
            # Windows has junctions besides links; there, every entry is resolved.
            if entry.is_symlink() or os.name == "nt":
                path = path.resolve(strict=True)
                if not path.is_relative_to(self._root):
                    self._bad(relative, f"{shown(relative)} is a link that leaves the model folder: {shown(path)}.")
                    return
            status = path.stat(follow_symlinks=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: Python before 3.13 on links that go in circles
            reason = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
            self._bad(relative, f"{shown(relative)} cannot be read: {reason}.", _READABLE)
            return
        if stat.S_ISREG(status.st_mode):
            yield ModelFile(relative, path, status.st_size, status.st_mtime_ns)
        elif not stat.S_ISDIR(status.st_mode):
            self._bad(relative, f"{shown(relative)} is neither a file nor a folder.", _NO_FILES)
        elif path in chain:
            self._bad(relative, f"{shown(relative)} is a link to a folder it lies in.")
        else:
            yield from self.below(path, relative + "/", (*chain, path))

    def _bad(self, relative: str, message: str, hint: str = "") -> None:
        title = "Model folder cannot be read" if hint == _READABLE else "Unsafe model folder"
        error = ModelError(title, message, hint or WITHOUT_LINKS)
        if self._on_bad is None:
            raise error
        self._on_bad(relative, error)


def leaves(text: str) -> bool:
    """Whether a path written in a model would lead out of the folder it is meant for, on any system."""
    # Backslashes count as separators everywhere: a model made on Windows is read elsewhere, and the other way round.
    posix, windows = PurePosixPath(text.replace("\\", "/")), PureWindowsPath(text)
    return "\0" in text or posix.is_absolute() or bool(windows.drive or windows.root) or ".." in posix.parts


def named(base: Path, text: str, root: Path, where: str) -> Path:
    """The file or folder that a path written in a model means.

    Args:
        base: The folder the path is relative to, resolved.
        text: The path as it is written.
        root: The model, resolved.
        where: Who wrote it, for the message: "MLmodel, flavors.x.data".

    Returns:
        The resolved path, which may not exist.

    Raises:
        ModelError: The path is absolute, climbs with `..`, or leads out of the root through a link.
    """
    if not leaves(text):
        literal = base / text
        path = literal if literal.exists() else base / text.replace("\\", "/")
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError):
            resolved = None
        if resolved is not None and resolved.is_relative_to(root):
            return resolved
    raise ModelError(
        "Unsafe model folder",
        f"{where} names {shown(text)}, which is outside the model folder.",
        "A model may only name its own files; ask its maker for a corrected one.",
    )
