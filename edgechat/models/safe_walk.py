"""Lists the files of a model folder, guaranteeing that none of them is elsewhere.

A model folder is untrusted. A link leading outside would make edgechat read, copy or publish one of the user's files; a
pipe or a device would hang whoever opens it. So only `walk` lists folders in this package, and it returns nothing
unchecked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.sanitize import shown

_MOST_FILES = 20_000
"""More entries than any model has; links between folders could otherwise multiply without limit."""

_DEEPEST = 32
"""Maximum nesting depth; real models have three or four levels."""


WITHOUT_LINKS = "If the files are yours, make a copy with the links replaced by files: cp -rL FOLDER COPY"
"""A hint for users whose own model consists of links."""

_NOT_SO = "Give the folder of the model alone."

_NO_FILES = "No model needs pipes, sockets or devices: make a copy without it, or get the model again."

_READABLE = "Check that the file is there and that you may read it."


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One regular file of a model.

    Attributes:
        relative: Path below the walked folder, with forward slashes.
        path: Where its bytes are: the same place, or the target of a link inside the model.
        size: Size in bytes.
        mtime_ns: Time of the last change in nanoseconds.
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
        root: The model it is part of, resolved, which links may not leave. Defaults to the folder itself.
        on_bad: Called with the relative path and the error for each entry that cannot be listed, instead of raising.

    Raises:
        ModelError: An entry is a broken link or one that leaves the root, is not a regular file, or cannot be read.
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
        self._count = 0

    def below(self, folder: Path, prefix: str, chain: tuple[Path, ...]) -> Iterator[ModelFile]:
        if len(chain) > _DEEPEST:
            raise ModelError(
                "Not a model folder",
                Sentence("{root} has folders nested deeper than {deepest}.", root=self._root, deepest=_DEEPEST),
                _NOT_SO,
            )
        try:
            found = self._list(folder)
        except OSError as error:
            self._bad(prefix.rstrip("/") or ".", f"{folder} cannot be read: {error.strerror or error}.", _READABLE)
            return
        for entry in found:
            yield from self._entry(entry, prefix + entry.name, chain)

    def _list(self, folder: Path) -> list[os.DirEntry[str]]:
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:  # counted here: listing a folder with millions of files would fill the memory
                self._count += 1
                if self._count > _MOST_FILES:
                    raise ModelError(
                        "Not a model folder",
                        Sentence(
                            "{root} holds more than {most_files} files.", root=self._root, most_files=f"{_MOST_FILES:,}"
                        ),
                        _NOT_SO,
                    )
                found.append(entry)
        return found

    def _entry(self, entry: os.DirEntry[str], relative: str, chain: tuple[Path, ...]) -> Iterator[ModelFile]:
        path = Path(entry.path)
        try:
            # Windows has junctions besides links, so every entry is resolved there.
            if entry.is_symlink() or os.name == "nt":
                path = path.resolve(strict=True)
                if not path.is_relative_to(self._root):
                    self._bad(relative, f"{shown(relative)} is a link that leaves the model folder: {shown(path)}.")
                    return
            status = path.stat(follow_symlinks=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: circular links before Python 3.13
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


def escapes(text: str) -> bool:
    """Whether a path written in a model would lead outside its folder on any system."""
    # Backslashes always count as separators: a model made on Windows is read elsewhere, and vice versa.
    posix, windows = PurePosixPath(text.replace("\\", "/")), PureWindowsPath(text)
    return "\0" in text or posix.is_absolute() or bool(windows.drive or windows.root) or ".." in posix.parts


def resolve_inside(base: Path, text: str, root: Path, where: str) -> Path:
    """Resolve a path written in a model.

    Args:
        base: The folder it is relative to, resolved.
        text: The path as written.
        root: The model, resolved.
        where: Where it was found, for the message: "MLmodel, flavors.x.data".

    Returns:
        The resolved path, which may not exist.

    Raises:
        ModelError: The path is absolute, contains `..`, or leaves the root through a link.
    """
    if not escapes(text):
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
        Sentence("{where} names {text}, which is outside the model folder.", where=where, text=shown(text)),
        "A model may only name its own files; ask its maker for a corrected one.",
    )
