"""Downloads a folder of artifacts file by file, so that an interrupted download resumes where it stopped.

A file is downloaded under a temporary name and renamed once it is complete, on disk and matches the model's manifest,
so that every file with its final name is intact. File names from a server are untrusted, like those in a model: none
leads outside the folder. Nothing here depends on MLflow; a server is anything that can list and fetch.
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
from edgechat.i18n.sentence import Sentence
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
"""Seconds between checks of how far the current file has got."""

_SOURCE, _HALF, WHOLE = "source.json", "half", "files"


class Remote(Protocol):
    """A remote folder of artifacts."""

    @property
    def location(self) -> str:
        """Its URI, without credentials."""

    def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """Yield the entries of a folder below it, "" for itself: paths with sizes in bytes, or None for a folder."""

    def fetch(self, path: str, goal: Path) -> None:
        """Download a file to a path. Raises RegistryError, or OSError if it cannot be written."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete download.

    Attributes:
        folder: Where it is.
        size: Total bytes.
        reused: Bytes reused from an earlier download.
    """

    folder: Path
    size: int
    reused: int


def list_files(remote: Remote, requested: str) -> dict[str, int]:
    """Return every file below a remote folder with its size in bytes.

    Args:
        remote: The folder.
        requested: The user's name for it, for messages.

    Raises:
        RegistryError: It is empty, not a model edgechat could run, or contains a hostile path.
    """
    files: dict[str, int] = {}
    folders, count = [""], 0
    while folders:
        folder = folders.pop()
        for path, size in remote.entries(folder):
            count += 1
            if count > _MOST_FILES or path.count("/") > _DEEPEST:
                raise RegistryError(
                    "Not a model",
                    Sentence(
                        "{requested} holds more than {most_files} files, or folders more than {deepest} deep.",
                        requested=requested,
                        most_files=_MOST_FILES,
                        deepest=_DEEPEST,
                    ),
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
                    Sentence(
                        "{requested} has a file called {path}, which would be written outside of the model's folder.",
                        requested=requested,
                        path=shown(path),
                    ),
                    "Nothing was fetched. Ask who runs the server.",
                )
            if size is None:
                folders.append(path)
            else:
                files[path] = size
    if not files:
        raise RegistryError(
            "Nothing there",
            Sentence("{requested} holds no files.", requested=requested),
            "Check the path, and that all was logged.",
        )
    names = {path.rpartition("/")[2] for path in files}
    if GENAI_CONFIG not in names and not (CONFIG in names and any(name.endswith(".safetensors") for name in names)):
        kind = "is an MLflow model, but" if MLMODEL in files else "is no MLflow model and"
        raise RegistryError(
            "Not a model that can chat",
            Sentence(
                "{requested} {kind} holds neither {genai_config} nor a Hugging Face model with safetensors.",
                requested=requested,
                kind=kind,
                genai_config=GENAI_CONFIG,
            ),
            "edgechat runs models in ONNX GenAI form; `edgechat package` makes them from others.",
        )
    return dict(sorted(files.items()))


def fetch_files(
    remote: Remote, files: Mapping[str, int], place: Path, *, requested: str, on_progress: ByteCallback | None = None
) -> Fetched:
    """Download the files that an earlier attempt did not complete.

    Args:
        remote: Where they are.
        files: The result of `list_files`.
        place: The download's own folder, which remains after a failure. Leftovers of another model are deleted.
        requested: The user's name for the model, for messages.
        on_progress: Called with the bytes present and the total.

    Raises:
        ModelError: A file does not match the manifest.
        RegistryError: The server failed.
        StorageError: There is not enough space, or the folder cannot be written.
    """
    whole = place / WHOLE
    with storage_errors(place):
        _prepare(place, remote.location, files)
        present = {name for name, size in files.items() if _size(whole / name) == size}
    # The two small files that may differ under the same URI are always downloaded again; the manifest checks the rest.
    present -= {MANIFEST, MLMODEL}
    transfer = _Transfer(remote, place, requested, on_progress, total=sum(files.values()))
    if MANIFEST in files:
        transfer.fetch(MANIFEST, files[MANIFEST], None)
    manifest = read_manifest(whole)
    _check_complete(files, manifest, requested)
    if manifest is None:
        present.clear()  # there is no telling whether they belong to the same model
    for name in sorted(present):
        if manifest is not None and not _is_right(whole / name, name, manifest):
            with storage_errors(place):
                (whole / name).unlink()
            present.remove(name)
    reused = sum(files[name] for name in present)
    require_space(place, sum(files.values()) - reused)
    transfer.add(reused)
    for name, size in files.items():
        if name not in present and name != MANIFEST:
            transfer.fetch(name, size, manifest)
    return Fetched(whole, sum(files.values()), reused)


def _prepare(place: Path, location: str, files: Mapping[str, int]) -> None:
    """Create the folder and delete what does not belong to this model."""
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
    """Delete a download's folder as far as possible."""
    import shutil

    shutil.rmtree(place, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else -1


def _is_right(path: Path, name: str, manifest: Manifest) -> bool:
    # MLflow may rewrite MLmodel after saving, as it does when a model is registered.
    expected = manifest.files.get(name)
    return name == MLMODEL or expected is None or hash_file(path) == expected.sha256


def _check_complete(files: Mapping[str, int], manifest: Manifest | None, requested: str) -> None:
    missing = [name for name in manifest.files if name not in files] if manifest is not None else []
    if missing:
        raise ModelError(
            "Model is damaged",
            Sentence(
                "{requested} lacks {missing}, which {manifest} names{value}",
                requested=requested,
                missing=shown(missing[0]),
                manifest=MANIFEST,
                value=f", and {len(missing) - 1} more files." if missing[1:] else ".",
            ),
            "The model on the server is not whole: it has to be logged again.",
        )


class _Transfer:
    """The files of one download, one after the other."""

    def __init__(
        self, remote: Remote, place: Path, requested: str, on_progress: ByteCallback | None, *, total: int
    ) -> None:
        self._remote, self._place, self._requested = remote, place, requested
        self._on_progress, self._total, self._done = on_progress, total, 0

    def add(self, size: int) -> None:
        """Count bytes that are present."""
        self._done += size
        self._report(0)

    def fetch(self, name: str, size: int, manifest: Manifest | None) -> None:
        """Download one file; it gets its name once it is complete and correct."""
        half, goal = self._place / _HALF, self._place / WHOLE / name
        with storage_errors(self._place):
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with self._watched(half):
                    self._remote.fetch(name, half)
                self._check(half, name, size, manifest)
                sync_file(half)  # after a power cut, the name must not exist without the data
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
                Sentence(
                    "{name} of {requested} came with {found} in place of {size}.",
                    name=shown(name),
                    requested=self._requested,
                    found=counted(found, "byte"),
                    size=f"{size:,}",
                ),
                "Pull once more; the files that are whole are not fetched again.",
            )
        if manifest is not None and not _is_right(half, name, manifest):
            raise ModelError(
                "Model is damaged",
                Sentence(
                    "{name} of {requested} is not what {manifest} says.",
                    name=shown(name),
                    requested=self._requested,
                    manifest=MANIFEST,
                ),
                "Pull once more; if that does not help, the model on the server has to be logged again.",
            )

    @contextmanager
    def _watched(self, half: Path) -> Iterator[None]:
        """Report progress from a thread while a file is being written, since the writer reports none."""
        if self._on_progress is None:
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
            self._report(max(0, _size(half)))

    def _report(self, more: int) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._done + more, self._total), self._total)
