"""Brings a folder of artifacts here, file by file, so that a broken download goes on where it stopped.

A file is fetched under another name and gets its own when all of it is here, is on the disk and is what the model's
manifest says: whatever has its name is whole. What a server calls its files is believed as little as what a model does:
no name leads out of the folder. Nothing here knows MLflow; the server is whatever can list and fetch.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgechat.errors import ModelError, RegistryError
from edgechat.i18n.catalog import counted
from edgechat.models.copying import require_space, storage_errors, sync_file, sync_folder
from edgechat.models.genai_config import GENAI_CONFIG
from edgechat.models.huggingface import CONFIG
from edgechat.models.manifest import MANIFEST, Manifest, hash_file, read_manifest, write_atomically
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.safe_walk import escapes
from edgechat.models.sanitize import shown
from edgechat.runtime.progress import ByteCallback

_MOST_FILES = 20_000
_DEEPEST = 30
_LOOK_SECONDS = 0.2
"""How often the file being fetched is looked at, to tell how far it is."""

_SOURCE, _HALF, WHOLE = "source.json", "half", "files"


class Remote(Protocol):
    """A folder of artifacts somewhere else."""

    @property
    def location(self) -> str:
        """Its URI, without credentials."""

    def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """What lies in a folder below it, "" for itself: paths, with their bytes, or None for a folder."""

    def fetch(self, path: str, goal: Path) -> None:
        """Write a file to a path. Raises RegistryError, or OSError where it cannot be written."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder that is all here.

    Attributes:
        folder: Where.
        size: Bytes in all.
        kept: Bytes of them that an earlier download had brought already.
    """

    folder: Path
    size: int
    kept: int


def list_files(remote: Remote, asked: str) -> dict[str, int]:
    """Every file below a remote folder, with its bytes.

    Args:
        remote: The folder.
        asked: What the user calls it, for messages.

    Raises:
        RegistryError: There is nothing there, it is no model that edgechat could run, or a path in it is hostile.
    """
    files: dict[str, int] = {}
    folders, seen = [""], 0
    while folders:
        folder = folders.pop()
        for path, size in remote.entries(folder):
            seen += 1
            if seen > _MOST_FILES or path.count("/") > _DEEPEST:
                raise RegistryError(
                    "Not a model",
                    f"{asked} holds more than {_MOST_FILES} files, or folders more than {_DEEPEST} deep.",
                    "Check that the URI names one model.",
                )
            if (
                escapes(path)
                or "\\" in path
                or path.rpartition("/")[0] != folder
                or path.rpartition("/")[2] in {"", "."}
            ):
                raise RegistryError(
                    "Unsafe model",
                    f"{asked} has a file called {shown(path)}, which would be written outside of the model's folder.",
                    "Nothing was fetched. Ask who runs the server.",
                )
            if size is None:
                folders.append(path)
            else:
                files[path] = size
    if not files:
        raise RegistryError("Nothing there", f"{asked} holds no files.", "Check the path, and that all was logged.")
    names = {path.rpartition("/")[2] for path in files}
    if GENAI_CONFIG not in names and not (CONFIG in names and any(name.endswith(".safetensors") for name in names)):
        kind = "is an MLflow model, but" if MLMODEL in files else "is no MLflow model and"
        raise RegistryError(
            "Not a model that can chat",
            f"{asked} {kind} holds neither {GENAI_CONFIG} nor a Hugging Face model with safetensors.",
            "edgechat runs models in ONNX GenAI form; `edgechat package` makes them from others.",
        )
    return dict(sorted(files.items()))


def fetch_files(
    remote: Remote, files: Mapping[str, int], place: Path, *, asked: str, progress: ByteCallback | None = None
) -> Fetched:
    """Fetch those files that an earlier try did not bring.

    Args:
        remote: Where they are.
        files: What `list_files` gave.
        place: A folder of the download's own, where it also is after a failure. What another model left in it goes.
        asked: What the user calls the model, for messages.
        progress: Told the bytes that are here.

    Raises:
        ModelError: A file is not what the manifest says.
        RegistryError: The server failed.
        StorageError: There is no room, or the place cannot be written.
    """
    whole = place / WHOLE
    with storage_errors(place):
        _prepare(place, remote.location, files)
        present = {name for name, size in files.items() if _size(whole / name) == size}
    # The two small files that may differ under the same URI come anew each time; the manifest then judges the rest.
    present -= {MANIFEST, MLMODEL}
    transfer = _Transfer(remote, place, asked, progress, total=sum(files.values()))
    if MANIFEST in files:
        transfer.fetch(MANIFEST, files[MANIFEST], None)
    manifest = read_manifest(whole)
    _check_complete(files, manifest, asked)
    if manifest is None:
        present.clear()  # nothing tells whether they are still those of the same model
    for name in sorted(present):
        if manifest is not None and not _is_right(whole / name, name, manifest):
            with storage_errors(place):
                (whole / name).unlink()
            present.remove(name)
    kept = sum(files[name] for name in present)
    require_space(place, sum(files.values()) - kept)
    transfer.add(kept)
    for name, size in files.items():
        if name not in present and name != MANIFEST:
            transfer.fetch(name, size, manifest)
    return Fetched(whole, sum(files.values()), kept)


def _prepare(place: Path, location: str, files: Mapping[str, int]) -> None:
    """Make the folder, and clear it of what does not belong to this model."""
    source = place / _SOURCE
    try:
        known = json.loads(source.read_bytes())["location"] == location
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    whole = place / WHOLE
    if not known:
        clear(place)
    whole.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not known:
        write_atomically(source, json.dumps({"location": location}).encode())
    for path in whole.rglob("*"):
        if path.is_file() and path.relative_to(whole).as_posix() not in files:
            path.unlink()


def clear(place: Path) -> None:
    """Remove a download's folder and all in it, as far as that is possible."""
    import shutil

    shutil.rmtree(place, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else -1


def _is_right(path: Path, name: str, manifest: Manifest) -> bool:
    # MLflow may rewrite MLmodel after it was saved, as it does when a model is registered.
    wanted = manifest.files.get(name)
    return name == MLMODEL or wanted is None or hash_file(path) == wanted.sha256


def _check_complete(files: Mapping[str, int], manifest: Manifest | None, asked: str) -> None:
    missing = [name for name in manifest.files if name not in files] if manifest is not None else []
    if missing:
        raise ModelError(
            "Model is damaged",
            f"{asked} lacks {shown(missing[0])}, which {MANIFEST} names"
            + (f", and {len(missing) - 1} more files." if missing[1:] else "."),
            "The model on the server is not whole: it has to be logged again.",
        )


class _Transfer:
    """The files of one download, one after the other."""

    def __init__(self, remote: Remote, place: Path, asked: str, progress: ByteCallback | None, *, total: int) -> None:
        self._remote, self._place, self._asked = remote, place, asked
        self._progress, self._total, self._done = progress, total, 0

    def add(self, size: int) -> None:
        """Count bytes that are here."""
        self._done += size
        self._tell(0)

    def fetch(self, name: str, size: int, manifest: Manifest | None) -> None:
        """Fetch one file; it has its name when it is whole and right."""
        half, goal = self._place / _HALF, self._place / WHOLE / name
        with storage_errors(self._place):
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with self._watched(half):
                    self._remote.fetch(name, half)
                self._check(half, name, size, manifest)
                sync_file(half)  # a name must not survive a power cut that its bytes do not
                half.replace(goal)
            finally:
                half.unlink(missing_ok=True)
        sync_folder(goal.parent)
        self.add(size)

    def _check(self, half: Path, name: str, size: int, manifest: Manifest | None) -> None:
        found = half.stat().st_size
        if found != size:
            raise RegistryError(
                "Download broke off",
                f"{shown(name)} of {self._asked} came with {counted(found, 'byte')} in place of {size:,}.",
                "Pull once more; the files that are whole are not fetched again.",
            )
        if manifest is not None and not _is_right(half, name, manifest):
            raise ModelError(
                "Model is damaged",
                f"{shown(name)} of {self._asked} is not what {MANIFEST} says.",
                "Pull once more; if that does not help, the model on the server has to be logged again.",
            )

    @contextmanager
    def _watched(self, half: Path) -> Iterator[None]:
        """Tell the progress of a file while it is written, from a thread beside: whoever writes it does not tell."""
        if self._progress is None:
            yield
            return
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(half, ended.wait), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, half: Path, ended: Callable[[float], bool]) -> None:
        while not ended(_LOOK_SECONDS):
            self._tell(max(0, _size(half)))

    def _tell(self, more: int) -> None:
        if self._progress is not None:
            self._progress(min(self._done + more, self._total), self._total)
