"""The models installed on this device: one folder per name, either complete or absent.

Whenever edgechat or the machine is killed, a name in the store is a complete model with its manifest. So a model is
assembled in a folder whose name starts with a dot, and renamed once everything is on disk; leftovers of a killed
process are removed by the next one. Nothing here converts, downloads or runs a model.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgechat.errors import EdgechatError, ModelError, StorageError
from edgechat.i18n.sentence import Sentence
from edgechat.models.copying import copy_files, require_space, storage_errors, sync_folder, sync_tree
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.manifest import (
    MANIFEST,
    Manifest,
    Problem,
    covered_files,
    forget_times,
    read_manifest,
    record_times,
    verify_manifest,
    write_manifest,
)
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.names import check_name, is_name, name_for, unknown_name
from edgechat.models.origin import Origin, Origins
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.file_lock import FileLock, locked
from edgechat.runtime.progress import ByteCallback
from edgechat.runtime.regular_files import read_regular

_STAGING, _REPLACED, _REMOVED = ".staging-", ".replaced-", ".removed-"
_LOCKS, _TRUSTED = ".locks", ".trusted"
_LARGEST_NOTE = 100_000
"""Maximum bytes of edgechat's own records next to the models."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the store.

    Attributes:
        name: The model's name.
        path: Its folder.
        model: The model; None if it cannot be opened.
        error: Why it cannot be opened; None if it can.
    """

    name: str
    path: Path
    model: ModelFolder | None
    error: EdgechatError | None = None


class ModelStore:
    """The models below one folder, by default `paths.models_dir()`. Creating the object does not access the disk."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root if root is not None else paths.models_dir()).absolute()

    def names(self) -> tuple[str, ...]:
        """Return the installed names, sorted; empty if the store does not exist yet."""
        self._sweep()
        try:
            found = [path.name for path in self.root.iterdir() if is_name(path.name) and path.is_dir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageError(
                "Models cannot be listed",
                Sentence("{root}: {strerror}.", root=self.root, strerror=error.strerror or error),
            ) from error
        return tuple(sorted(found, key=lambda name: (name.lower(), name)))

    def entries(self) -> tuple[Entry, ...]:
        """Return every installed name, including models that cannot be opened."""
        found = []
        for name in self.names():
            try:
                found.append(Entry(name, self.root / name, self.get(name)))
            except EdgechatError as error:
                found.append(Entry(name, self.root / name, None, error))
        return tuple(found)

    def list(self) -> tuple[ModelFolder, ...]:
        """Return the installed models that can be opened."""
        return tuple(entry.model for entry in self.entries() if entry.model is not None)

    def has(self, name: str) -> bool:
        """Whether a model with that name is installed; False for an invalid name."""
        if not is_name(name):
            return False
        self._sweep()
        return (self.root / name).is_dir()

    def get(self, name: str) -> ModelFolder:
        """Open an installed model.

        Raises:
            ModelError: There is none with that name, or it cannot be opened.
        """
        model = open_model(self._existing(name), trust=self._is_trusted(name))
        return dataclasses.replace(model, origin=Origins(self.root).get(name))

    @property
    def origins(self) -> Origins:
        """Return where the pulled models came from."""
        self._sweep()  # a model that has to be restored first has an origin too
        return Origins(self.root)

    def add(
        self,
        source: Path,
        name: str | None = None,
        *,
        on_progress: ByteCallback | None = None,
        replace: bool = False,
        link: bool = False,
        trust: bool = False,
        origin: Origin | None = None,
    ) -> ModelFolder:
        """Install a model folder.

        Args:
            source: Anything `open_model` accepts. It is not modified.
            name: Name in the store; defaults to `ModelFolder.name`.
            on_progress: Called with the bytes copied and the total.
            replace: Replace an installed model with that name.
            link: Hard-link instead of copying where the file system supports it. Editing the source then also edits the
                installed model.
            trust: Accept a model that loads native code, and remember that for this name.
            origin: Where it was pulled from, to be recorded with it.

        Returns:
            The installed model.

        Raises:
            ModelError: The folder is not a usable model, does not match its own manifest, or the name is taken or
                invalid.
            StorageError: There is not enough space, or the store cannot be written.
        """
        model = open_model(source, trust=trust)
        name = check_name(name) if name is not None else name_for(Path(model.name))
        if self.root.resolve().is_relative_to(model.root):
            raise ModelError("Not a model folder", Sentence("edgechat keeps its models in {root}.", root=model.root))
        shipped = read_manifest(model.root)
        files = covered_files(model.root)
        size = 0 if link else sum(file.size for file in files)
        with self.staging(name, replace=replace, size=size, trust=trust, origin=origin) as folder:
            digests = copy_files(files, folder, link=link, on_progress=on_progress)
            if shipped is not None:
                # MLflow may rewrite MLmodel after saving, to record environment variables.
                wrong = [p for p, digest in shipped.files.items() if p != MLMODEL and digests.get(p) != digest]
                if wrong:
                    raise ModelError(
                        "Model folder is damaged",
                        Sentence(
                            "{wrong} is not what {manifest} says{value}",
                            wrong=shown(wrong[0]),
                            manifest=MANIFEST,
                            value=f", and so are {len(wrong) - 1} other files." if wrong[1:] else ".",
                        ),
                        "Copy the whole folder again from where it came.",
                    )
            open_model(folder, trust=trust)
            write_manifest(folder, known=digests)
        return self.get(name)

    def remove(self, name: str) -> None:
        """Delete an installed model. It disappears at once, its data shortly after.

        Raises:
            ModelError: There is none with that name.
            StorageError: It cannot be removed.
        """
        path = self._existing(name)
        with self._mutex(), storage_errors(self.root):
            gone = self._temporary_path(_REMOVED, name)
            path.rename(gone)
            self._trust(name, None)
            Origins(self.root).forget(name)
        forget_times(path)
        _delete(gone)

    def verify(self, name: str, on_progress: ByteCallback | None = None) -> tuple[Problem, ...]:
        """Read every byte of an installed model and compare it with its manifest; see `manifest.verify_manifest`."""
        return tuple(verify_manifest(self._existing(name), on_progress))

    @contextmanager
    def lock(self, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep other processes from installing the same name.

        Hold it while checking for the model and installing it: of two concurrent starts, the second then waits and
        finds the model installed. `staging` and `add` do not acquire it themselves.

        Args:
            name: The model's name.
            on_wait: Called once if another process holds the lock.

        Raises:
            ModelError: The name is invalid.
            StorageError: The store cannot be written.
        """
        check_name(name)
        with locked(self._lock_path(f"name-{name}"), on_wait):
            yield

    @contextmanager
    def staging(
        self,
        name: str,
        *,
        replace: bool = False,
        size: int = 0,
        trust: bool = False,
        origin: Origin | None = None,
    ) -> Iterator[Path]:
        """Provide an empty folder to assemble a model in, which is installed under that name when the block ends.

        An error in the block removes the folder; if the process is killed it stays hidden until the next use of the
        store removes it. A manifest is written unless the block wrote one.

        Args:
            name: The model's name.
            replace: Replace an installed model with that name.
            size: Bytes of free space to require; 0 skips the check.
            trust: Record that the model may load native code.
            origin: Where it was pulled from.

        Raises:
            ModelError: The name is invalid or taken.
            StorageError: There is not enough space, or the store cannot be written.
        """
        check_name(name)
        self._require_free(name, replace)
        with self._mutex(), storage_errors(self.root):
            self._sweep_locked()
            folder = self._temporary_path(_STAGING, name)
            owner = FileLock(folder.with_name(folder.name + ".lock"))
            owner.acquire()
            folder.mkdir(mode=0o700)
        try:
            if size:
                require_space(self.root, size)
            yield folder
            manifest = read_manifest(folder) or write_manifest(folder)
            sync_tree(folder)
            self._publish(folder, name, replace, manifest, trust, origin)
        finally:
            _delete(folder)
            # Unlinked while still locked: a sweeper that opens it later locks a file without a name.
            if os.name != "nt":
                owner.path.unlink(missing_ok=True)
            owner.release()
            with suppress(OSError):
                owner.path.unlink(missing_ok=True)

    def _publish(
        self, folder: Path, name: str, replace: bool, manifest: Manifest, trust: bool, origin: Origin | None
    ) -> None:
        target, old = self.root / name, None
        with self._mutex(), storage_errors(self.root):
            self._require_free(name, replace)
            if origin is not None:  # applies to this manifest only, so from the rename on
                Origins(self.root).write(name, manifest.digest, origin)
            if target.exists():
                old = self._temporary_path(_REPLACED, name)
                target.rename(old)
            try:
                folder.rename(target)
            except OSError:
                if old is not None:
                    old.rename(target)
                raise
            if old is not None:  # from here on the old model must not be restored, whatever happens to the new one
                gone = self._temporary_path(_REMOVED, name)
                old.rename(gone)
                old = gone
            self._trust(name, manifest.digest if trust else None)
            Origins(self.root).forget(name, except_digest=manifest.digest if origin is not None else "")
            sync_folder(self.root)
        record_times(target, manifest)
        if old is not None:
            _delete(old)

    def _require_free(self, name: str, replace: bool) -> None:
        if not replace and (self.root / name).exists():
            raise ModelError(
                "Name is taken",
                Sentence("A model called {name} is installed already.", name=name),
                "Give another name with --name, or put it in the place of the old one with --replace.",
            )

    def _existing(self, name: str) -> Path:
        check_name(name)
        if not self.has(name):
            raise unknown_name(name, self.names())
        return self.root / name

    # Trust is stored outside the models and tied to the manifest's digest, so a folder cannot grant it to itself.

    def _trust(self, name: str, digest: str | None) -> None:
        path = self.root / _TRUSTED / f"{name}.json"
        if digest is None:
            path.unlink(missing_ok=True)
            return
        paths.make_private(path.parent)
        path.write_text(json.dumps({"manifest": digest}), "utf-8")

    def _is_trusted(self, name: str) -> bool:
        try:
            trusted = json.loads(read_regular(self.root / _TRUSTED / f"{name}.json", _LARGEST_NOTE))["manifest"]
            manifest = read_manifest(self.root / name)
        except (OSError, ValueError, KeyError, TypeError, ModelError):
            return False
        return manifest is not None and manifest.digest == trusted

    def _lock_path(self, name: str) -> Path:
        return paths.make_private(paths.make_private(self.root) / _LOCKS) / f"{name}.lock"

    def _mutex(self) -> AbstractContextManager[None]:
        """Held only briefly, while folders of the store are renamed, created or swept."""
        return locked(self._lock_path("store"))

    def _temporary_path(self, prefix: str, name: str) -> Path:
        return self.root / f"{prefix}{name}~{secrets.token_hex(4)}"

    def _sweep(self) -> None:
        """Remove what killed processes left behind, if there is anything and nobody else is doing it."""
        try:
            if not any(path.name.startswith((_STAGING, _REPLACED, _REMOVED)) for path in self.root.iterdir()):
                return
            mutex = FileLock(self._lock_path("store"))
            if mutex.acquire():
                try:
                    self._sweep_locked()
                finally:
                    mutex.release()
        except (OSError, StorageError):
            return  # a read-only store can still be read from

    def _sweep_locked(self) -> None:
        for leftover in sorted(self.root.iterdir()):
            if leftover.name.startswith(_STAGING) and not leftover.name.endswith(".lock"):
                self._sweep_staging(leftover)
            elif leftover.name.startswith(_REPLACED):
                # Killed between the two renames of a replacement: restore the old model.
                target = self.root / leftover.name.removeprefix(_REPLACED).rpartition("~")[0]
                if target.exists():
                    _delete(leftover)
                else:
                    leftover.rename(target)
            elif leftover.name.startswith(_REMOVED):
                _delete(leftover)
            elif leftover.name.startswith(_STAGING) and not leftover.with_suffix("").exists():
                self._sweep_staging(leftover.with_suffix(""))

    def _sweep_staging(self, folder: Path) -> None:
        owner = FileLock(folder.with_name(folder.name + ".lock"))
        if not owner.acquire():
            return
        if owner.certain:  # nobody holds it: the process that created the folder is dead
            _delete(folder)
        owner.release()
        if owner.certain:
            owner.path.unlink(missing_ok=True)


def _delete(folder: Path) -> None:
    """Delete a folder as far as possible; the rest is swept later."""
    if folder.is_symlink():  # a model the user linked into the store: remove the link, not its target
        folder.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
