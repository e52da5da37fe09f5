"""The manifest of a model folder: digests of every file at the time it was stored.

A model with a few wrong bytes does not fail but produces nonsense. MLflow stores no digests, so edgechat has its own.
The manifest protects against damage, not against forgery, since a forger can write a new one. It is part of the folder
and moves with it. File times do not: they are recorded in the cache folder, only to avoid re-hashing at each start.
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

from edgechat.errors import ModelError, StorageError, UnverifiedError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence
from edgechat.models.safe_walk import ModelFile, escapes, walk
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.progress import ByteCallback
from edgechat.runtime.regular_files import open_regular, read_regular

MANIFEST = "edgechat-manifest.json"

CHUNK = 4 * 1024 * 1024

_VERSION = 1
_LARGEST = 16_000_000
_NOT_LISTED = frozenset({MANIFEST, "registered_model_meta", ".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that come and go without changing the model: MLflow's download record, and what file managers create."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The expected size of a file in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a manifest.

    Attributes:
        created: When it was written, ISO 8601 in UTC.
        files: Expected digests by relative path with forward slashes.
        digest: SHA-256 of the manifest file itself.
    """

    created: str
    files: Mapping[str, Digest]
    digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A difference between a folder and its manifest.

    Attributes:
        kind: Among others "extra": a file not in the manifest. "unreadable": the file cannot be read, or is not the
            model's.
        path: Relative path with forward slashes.
        detail: A short explanation.
    """

    kind: Literal["missing", "changed", "extra", "unreadable"]
    path: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of `quick_check`.

    Attributes:
        state: "verified": every file matches the manifest. "unverified": there is no manifest. "damaged": see
            `problems`.
        problems: The differences found.
    """

    state: Literal["verified", "unverified", "damaged"]
    problems: tuple[Problem, ...] = ()


def covered_files(root: Path) -> tuple[ModelFile, ...]:
    """Return the files of a model that a manifest covers. Raises ModelError as `walk` does."""
    return tuple(file for file in walk(root) if _covered(file.relative))


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal, calling `on_bytes` with the size of each chunk. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return digest.hexdigest()


def folder_digest(root: Path) -> str:
    """Return one SHA-256 for a folder: over its files' names and digests, sorted by name.

    Raises:
        ModelError: A file cannot be read, or the folder is unsafe.
    """
    total = hashlib.sha256()
    for file in sorted(covered_files(root.resolve()), key=lambda file: file.relative):
        try:
            total.update(f"{hash_file(file.path)}  {file.relative}\n".encode())
        except OSError as error:
            raise ModelError(
                "Model file cannot be read",
                Sentence("{path}: {strerror}.", path=file.path, strerror=error.strerror or error),
            ) from error
    return total.hexdigest()


def read_manifest(root: Path) -> Manifest | None:
    """Read the manifest of a folder; None if there is none.

    Raises:
        ModelError: There is one, but it was not written by edgechat.
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
        if bad := next((name for name in files if escapes(name) or not name), None):
            raise ValueError(f"it names {shown(bad)}, which is outside the folder")
        return Manifest(str(data.get("created", "")), files, hashlib.sha256(raw).hexdigest())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            "Manifest is damaged",
            Sentence(
                "{path}: {getattr}.",
                path=path,
                getattr=shown(getattr(error, "strerror", None) or error) or type(error).__name__,
            ),
            "Install the model again from where it came, or delete this file to use the model unverified.",
        ) from error


def write_manifest(
    root: Path, on_progress: ByteCallback | None = None, *, known: Mapping[str, Digest] | None = None
) -> Manifest:
    """Hash every file of a model folder and write its manifest, replacing an older one.

    Args:
        root: The model folder.
        on_progress: Called with the bytes hashed and the total.
        known: Digests already computed while the files were written; these files are not read again.

    Raises:
        ModelError: A file cannot be read, or the folder is unsafe.
        StorageError: The manifest cannot be written.
    """
    root = root.resolve()
    files = covered_files(root)
    known = known or {}
    count = _Counter(on_progress, sum(file.size for file in files if file.relative not in known))
    digests: dict[str, Digest] = {}
    for file in files:
        try:
            digests[file.relative] = known.get(file.relative) or Digest(file.size, hash_file(file.path, count.add))
        except OSError as error:
            raise ModelError(
                "Model file cannot be read",
                Sentence("{path}: {strerror}.", path=file.path, strerror=error.strerror or error),
            ) from error
    created = _now().isoformat(timespec="seconds")
    raw = manifest_text(digests, created)
    try:
        write_atomically(root / MANIFEST, raw)
    except OSError as error:
        raise StorageError(
            "Manifest cannot be written",
            Sentence("{value}: {strerror}.", value=root / MANIFEST, strerror=error.strerror or error),
            "Free some space, or make the folder writable.",
        ) from error
    return Manifest(created, digests, hashlib.sha256(raw).hexdigest())


def manifest_text(digests: Mapping[str, Digest], created: str | None = None) -> bytes:
    """Format a manifest of these files, dated now by default."""
    data = {
        "version": _VERSION,
        "created": created or _now().isoformat(timespec="seconds"),
        "files": {name: {"size": digest.size, "sha256": digest.sha256} for name, digest in digests.items()},
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def _now() -> datetime:
    """Return the time to record: SOURCE_DATE_EPOCH if a reproducible build sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)


def verify_manifest(root: Path, on_progress: ByteCallback | None = None) -> list[Problem]:
    """Read every byte of a model and compare it with the manifest.

    Returns:
        The differences, sorted by path; empty if everything matches.

    Raises:
        UnverifiedError: There is no manifest.
        ModelError: It cannot be read.
    """
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        raise UnverifiedError(
            "Nothing to verify against",
            Sentence("{root} has no {manifest}.", root=root, manifest=MANIFEST),
            "A model gets one when it is installed: edgechat models add FOLDER",
        )
    problems, files = _scan(root, manifest)
    problems += [Problem("extra", name, "not in the manifest") for name in files if name not in manifest.files]
    right = _known(manifest, files)
    problems += _compare_all(right, manifest, on_progress)
    if not problems:
        _Times(root).record(manifest, right)
    return sorted(problems, key=lambda problem: problem.path)


def quick_check(root: Path, on_progress: ByteCallback | None = None) -> Check:
    """Compare sizes and times with the manifest, as at each start; takes about a millisecond.

    A file whose time differs from the recorded one, as after copying the folder, is hashed once and its time recorded.
    Files not in the manifest are left to `verify_manifest`, since the model does not refer to them.

    Raises:
        ModelError: There is a manifest, but it cannot be read.
    """
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        return Check("unverified")
    problems, files = _scan(root, manifest)
    times = _Times(root)
    recorded = times.read(manifest)
    right = _known(manifest, files)
    stale = {name: file for name, file in right.items() if recorded.get(name) != [file.size, file.mtime_ns]}
    problems += _compare_all(stale, manifest, on_progress)
    if problems:
        return Check("damaged", tuple(sorted(problems, key=lambda problem: problem.path)))
    if stale:
        times.record(manifest, right)
    return Check("verified")


def size_check(root: Path) -> Check:
    """Check that every file exists with the right size, reading no contents. Raises ModelError as `quick_check`."""
    root = root.resolve()
    manifest = read_manifest(root)
    if manifest is None:
        return Check("unverified")
    problems, files = _scan(root, manifest)
    for name, file in files.items():
        expected = manifest.files.get(name)
        if expected is not None and expected.size != file.size:
            problems.append(_other_size(file, expected))
    return Check("damaged" if problems else "verified", tuple(sorted(problems, key=lambda problem: problem.path)))


def ensure_intact(root: Path, on_progress: ByteCallback | None = None) -> Check:
    """Run `quick_check` and raise if the model is damaged; for use before loading it.

    Returns:
        The check, "verified" or "unverified".

    Raises:
        ModelError: A file is missing or has changed; the message names it.
    """
    check = quick_check(root, on_progress)
    if check.state == "damaged":
        first, more = check.problems[0], len(check.problems) - 1
        raise ModelError(
            "Model is damaged",
            Sentence(
                "{path} in {root} is {kind}{value}{value2}",
                path=shown(first.path),
                root=root,
                kind=first.kind,
                value=f" ({first.detail})" if first.detail else "",
                value2=f", and {more} more." if more else ".",
            ),
            "`edgechat models verify` shows everything; put it right with `edgechat models add FOLDER --replace`.",
        )
    return check


def record_times(root: Path, manifest: Manifest) -> None:
    """Record that a folder's files were just written as in its manifest, so that no start re-hashes them."""
    root = root.resolve()
    _, files = _scan(root, manifest)
    _Times(root).record(manifest, _known(manifest, files))


def forget_times(root: Path) -> None:
    """Delete the recorded times of a folder that is gone."""
    with suppress(OSError):
        _Times(root.resolve()).path.unlink(missing_ok=True)


class _Counter:
    """Adds up bytes for a progress callback."""

    def __init__(self, on_progress: ByteCallback | None, total: int) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._on_progress is not None:
            self._on_progress(min(self._done, self._total), self._total)


class _Times:
    """The recorded file times of one folder. A cache: if it cannot be read or written, files are just re-hashed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.path = paths.cache_dir() / "verified" / f"{key}.json"

    def read(self, manifest: Manifest) -> dict[str, list[int]]:
        try:
            data = json.loads(read_regular(self.path, _LARGEST))
            # Times apply only to the manifest they were compared with.
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


def _scan(root: Path, manifest: Manifest) -> tuple[list[Problem], dict[str, ModelFile]]:
    """Return missing and unreadable files, and the files present by name; none is opened."""
    problems: list[Problem] = []
    walked = walk(root, on_bad=lambda path, error: problems.append(Problem("unreadable", path, error.message)))
    files = {file.relative: file for file in walked if _covered(file.relative)}
    present = {*files, *(problem.path for problem in problems)}
    return problems + [Problem("missing", name) for name in manifest.files if name not in present], files


def _known(manifest: Manifest, files: Mapping[str, ModelFile]) -> dict[str, ModelFile]:
    return {name: file for name, file in files.items() if name in manifest.files}


def _compare_all(files: Mapping[str, ModelFile], manifest: Manifest, on_progress: ByteCallback | None) -> list[Problem]:
    count = _Counter(on_progress, sum(file.size for file in files.values()))
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
    """Write a small file atomically: its name refers to the old or the new bytes, whatever happens. Raises OSError."""
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
