"""The manifest of a model folder: what every file was when it was put there.

A model with a few wrong bytes does not fail, it talks nonsense; MLflow keeps no digests, so edgechat keeps its own. The
manifest guards against damage, not against a forger, who would write a new one. It lies in the folder and travels with
it. File times do not travel: they are kept beside the caches, only to spare re-hashing at each start.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edgechat.errors import ModelError, StorageError
from edgechat.i18n.catalog import counted
from edgechat.models.safe_walk import ModelFile, leaves, walk
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.regular_files import open_regular, read_regular

MANIFEST = "edgechat-manifest.json"

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

CHUNK = 4 * 1024 * 1024

_VERSION = 1
_LARGEST = 16_000_000
_NOT_LISTED = frozenset({MANIFEST, "registered_model_meta", ".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that come and go without the model changing: MLflow's note of a download, and what file managers leave."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file has to be: its bytes counted, and their SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read.

    Attributes:
        created: When it was written, ISO 8601 in UTC.
        files: Relative path with forward slashes, to what the file has to be.
        digest: SHA-256 of the manifest file itself.
    """

    created: str
    files: Mapping[str, Digest]
    digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a folder is not what its manifest says.

    Attributes:
        kind: "extra": a file the manifest does not know. "unreadable": the bytes cannot be had, or are not the model's.
        path: Relative path with forward slashes.
        detail: A few words on it.
    """

    kind: Literal["missing", "changed", "extra", "unreadable"]
    path: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What `quick_check` found.

    Attributes:
        state: "verified": every file is as the manifest says. "unverified": there is no manifest to compare with.
            "damaged": `problems` says how.
        problems: What is wrong.
    """

    state: Literal["verified", "unverified", "damaged"]
    problems: tuple[Problem, ...] = ()


def listed(root: Path) -> tuple[ModelFile, ...]:
    """The files of a model that a manifest covers. Raises ModelError as `walk` does."""
    return tuple(file for file in walk(root) if _covered(file.relative))


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file in hexadecimal, calling `on_bytes` with the length of each chunk. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return digest.hexdigest()


def folder_digest(root: Path) -> str:
    """One SHA-256 for a folder: of its files' names and digests, in the order of the names.

    Raises:
        ModelError: A file cannot be read, or the folder is unsafe.
    """
    total = hashlib.sha256()
    for file in sorted(listed(root.resolve()), key=lambda file: file.relative):
        try:
            total.update(f"{hash_file(file.path)}  {file.relative}\n".encode())
        except OSError as error:
            raise ModelError("Model file cannot be read", f"{file.path}: {error.strerror or error}.") from error
    return total.hexdigest()


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of a folder, or None where there is none.

    Raises:
        ModelError: There is one, and it is not one that edgechat wrote.
    """
    path = root / MANIFEST
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        raw = read_regular(path, _LARGEST)
        data = json.loads(raw)
        if data["version"] != _VERSION:
            raise ValueError(f"version {shown(data['version'])} is not known; a newer edgechat may have written it")
        files = {str(name): Digest(int(entry["size"]), str(entry["sha256"])) for name, entry in data["files"].items()}
        if bad := next((name for name in files if leaves(name) or not name), None):
            raise ValueError(f"it names {shown(bad)}, which is outside the folder")
        return Manifest(str(data.get("created", "")), files, hashlib.sha256(raw).hexdigest())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            "Manifest is damaged",
            f"{path}: {shown(getattr(error, 'strerror', None) or error) or type(error).__name__}.",
            "Install the model again from where it came, or delete this file to use the model unverified.",
        ) from error


def write_manifest(
    root: Path, progress: Progress | None = None, *, known: Mapping[str, Digest] | None = None
) -> Manifest:
    """Hash every file of a model folder and write its manifest, replacing an older one.

    Args:
        root: The model folder.
        progress: Told how many bytes are hashed.
        known: Digests already computed while the files were written; these files are not read again.

    Raises:
        ModelError: A file cannot be read, or the folder is unsafe.
        StorageError: The manifest cannot be written.
    """
    root = root.resolve()
    files = listed(root)
    known = known or {}
    count = _Counter(progress, sum(file.size for file in files if file.relative not in known))
    digests: dict[str, Digest] = {}
    for file in files:
        try:
            digests[file.relative] = known.get(file.relative) or Digest(file.size, hash_file(file.path, count.add))
        except OSError as error:
            raise ModelError("Model file cannot be read", f"{file.path}: {error.strerror or error}.") from error
    created = _now().isoformat(timespec="seconds")
    raw = manifest_text(digests, created)
    try:
        write_atomically(root / MANIFEST, raw)
    except OSError as error:
        raise StorageError(
            "Manifest cannot be written",
            f"{root / MANIFEST}: {error.strerror or error}.",
            "Free some space, or make the folder writable.",
        ) from error
    return Manifest(created, digests, hashlib.sha256(raw).hexdigest())


def manifest_text(digests: Mapping[str, Digest], created: str | None = None) -> bytes:
    """The bytes of a manifest of these files, made now unless told otherwise."""
    data = {
        "version": _VERSION,
        "created": created or _now().isoformat(timespec="seconds"),
        "files": {name: {"size": digest.size, "sha256": digest.sha256} for name, digest in digests.items()},
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def _now() -> datetime:
    """The time to write down: SOURCE_DATE_EPOCH where a reproducible build sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)


def verify_manifest(root: Path, progress: Progress | None = None) -> list[Problem]:
    """Read every byte of a model and compare with its manifest.

    Returns:
        What does not match, sorted by path; empty when all does.

    Raises:
        ModelError: There is no manifest, or it cannot be read.
    """
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        raise ModelError(
            "Nothing to verify against",
            f"{root} has no {MANIFEST}.",
            "A model gets one when it is installed: edgechat models add FOLDER",
        )
    problems, files = _look(root, manifest)
    problems += [Problem("extra", name, "not in the manifest") for name in files if name not in manifest.files]
    right = _known(manifest, files)
    problems += _compare_all(right, manifest, progress)
    if not problems:
        _Times(root).record(manifest, right)
    return sorted(problems, key=lambda problem: problem.path)


def quick_check(root: Path, progress: Progress | None = None) -> Check:
    """Compare sizes and times with the manifest, as is done at each start, in about a millisecond.

    A file whose time is not the recorded one, as after copying the folder, is hashed once and its time recorded. Files
    the manifest does not know are left to `verify_manifest`: the model does not name them.

    Raises:
        ModelError: There is a manifest, and it cannot be read.
    """
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        return Check("unverified")
    problems, files = _look(root, manifest)
    times = _Times(root)
    recorded = times.read(manifest)
    right = _known(manifest, files)
    stale = {name: file for name, file in right.items() if recorded.get(name) != [file.size, file.mtime_ns]}
    problems += _compare_all(stale, manifest, progress)
    if problems:
        return Check("damaged", tuple(sorted(problems, key=lambda problem: problem.path)))
    if stale:
        times.record(manifest, right)
    return Check("verified")


def size_check(root: Path) -> Check:
    """Whether every file is there with its size; no byte of them is read. Raises ModelError as `quick_check`."""
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        return Check("unverified")
    problems, files = _look(root, manifest)
    for name, file in files.items():
        wanted = manifest.files.get(name)
        if wanted is not None and wanted.size != file.size:
            problems.append(_other_size(file, wanted))
    return Check("damaged" if problems else "verified", tuple(sorted(problems, key=lambda problem: problem.path)))


def ensure_intact(root: Path, progress: Progress | None = None) -> Check:
    """`quick_check` for those who are about to load the model.

    Returns:
        The check, "verified" or "unverified".

    Raises:
        ModelError: A file is missing or not what it was; the message names it.
    """
    check = quick_check(root, progress)
    if check.state == "damaged":
        first, more = check.problems[0], len(check.problems) - 1
        raise ModelError(
            "Model is damaged",
            f"{shown(first.path)} in {root} is {first.kind}"
            + (f" ({first.detail})" if first.detail else "")
            + (f", and {more} more." if more else "."),
            "`edgechat models verify` shows everything; put it right with `edgechat models add FOLDER --replace`.",
        )
    return check


def record_times(root: Path, manifest: Manifest) -> None:
    """Remember that a folder's files were just written as its manifest says: no start hashes them again."""
    root = root.resolve()
    _, files = _look(root, manifest)
    _Times(root).record(manifest, _known(manifest, files))


def forget_times(root: Path) -> None:
    """Drop what is remembered of a folder that is gone."""
    with suppress(OSError):
        _Times(root.resolve()).path.unlink(missing_ok=True)


class _Counter:
    """Adds up bytes for a progress callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


class _Times:
    """The recorded times of one folder. A cache: what cannot be read or written costs a re-hash and nothing else."""

    def __init__(self, root: Path) -> None:
        self._root = root
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.path = paths.cache_dir() / "verified" / f"{key}.json"

    def read(self, manifest: Manifest) -> dict[str, list[int]]:
        try:
            data = json.loads(read_regular(self.path, _LARGEST))
            # Times belong to the manifest they were compared with.
            return dict(data["files"]) if data["manifest"] == manifest.digest else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def record(self, manifest: Manifest, files: Mapping[str, ModelFile]) -> None:
        times = {name: [file.size, file.mtime_ns] for name, file in files.items()}
        data = {"root": str(self._root), "manifest": manifest.digest, "files": times}
        with suppress(OSError, StorageError):
            paths.make_private(self.path.parent)
            write_atomically(self.path, json.dumps(data).encode())


def _covered(relative: str) -> bool:
    parts = relative.split("/")
    return parts[-1] not in _NOT_LISTED and "__pycache__" not in parts


def _look(root: Path, manifest: Manifest) -> tuple[list[Problem], dict[str, ModelFile]]:
    """What in a folder cannot be read or is missing, and the files that are there, by name; none is opened."""
    problems: list[Problem] = []
    walked = walk(root, on_bad=lambda path, error: problems.append(Problem("unreadable", path, error.message)))
    files = {file.relative: file for file in walked if _covered(file.relative)}
    seen = {*files, *(problem.path for problem in problems)}
    return problems + [Problem("missing", name) for name in manifest.files if name not in seen], files


def _known(manifest: Manifest, files: Mapping[str, ModelFile]) -> dict[str, ModelFile]:
    return {name: file for name, file in files.items() if name in manifest.files}


def _compare_all(files: Mapping[str, ModelFile], manifest: Manifest, progress: Progress | None) -> list[Problem]:
    count = _Counter(progress, sum(file.size for file in files.values()))
    compared = [_compare(file, manifest.files[name], count) for name, file in files.items()]
    return [problem for problem in compared if problem is not None]


def _compare(file: ModelFile, digest: Digest, count: _Counter) -> Problem | None:
    if file.size != digest.size:
        count.add(file.size)
        return _other_size(file, digest)
    try:
        found = hash_file(file.path, count.add)
    except OSError as error:
        return Problem("unreadable", file.relative, error.strerror or str(error))
    return None if found == digest.sha256 else Problem("changed", file.relative, "other bytes than were installed")


def _other_size(file: ModelFile, digest: Digest) -> Problem:
    return Problem("changed", file.relative, f"{counted(file.size, 'byte')} instead of {digest.size:,}")


def write_atomically(path: Path, raw: bytes) -> None:
    """Write a small file so that its name holds the old bytes or the new ones, whatever happens. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
