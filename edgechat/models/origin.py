"""Records where the models in the store were pulled from.

A model's origin is stored next to it, never in its folder, which stays as its manifest says. The record is named after
the model and its manifest's digest: it is written before the model is put in place and applies only to that exact
model, so that no crash or copying can attach it to another one. Nothing here contacts a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgechat.errors import ModelError
from edgechat.models.copying import storage_errors
from edgechat.models.manifest import read_manifest, write_atomically
from edgechat.models.registry_uri import Reference
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular

ORIGINS = ".origins"
"""Folder in the store."""

_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from.

    Attributes:
        uri: The requested URI without credentials: "models:/phi3@champion".
        server: The tracking server's URI without credentials.
        pulled_at: When it was pulled, ISO 8601 in UTC.
        name: The registered model; "" if it was pulled from a run or by its id.
        version: Its version; "" as above.
        aliases: Every alias that pointed to this version when the server was last asked.
        run_id: The run that logged it; "" if unknown.
        model_id: MLflow's id of the logged model; "" for models from before MLflow 3.
        location: URI of the artifacts on the server, without credentials.
        place: Sequence number of the pull into this store, since clocks are unreliable; 0 if pulled by older versions.
    """

    uri: str
    server: str
    pulled_at: str
    name: str = ""
    version: str = ""
    aliases: tuple[str, ...] = ()
    run_id: str = ""
    model_id: str = ""
    location: str = ""
    place: int = field(default=0, compare=False)

    @property
    def pulled(self) -> str:
        """When it was pulled, formatted as "2026-11-25 10:40 UTC"."""
        return shown(self.pulled_at[:16].replace("T", " ")) + " UTC"

    @property
    def what(self) -> str:
        """What it is on its server: "phi3 version 3", or the URI it was pulled by."""
        return shown(f"{self.name} version {self.version}" if self.name else self.uri)

    @property
    def number(self) -> int:
        """The version as a number; 0 if it is not one."""
        return int(self.version) if self.version.isdecimal() else 0

    @property
    def order(self) -> tuple[int, str]:
        """Sort key that orders pulls chronologically."""
        return self.place, self.pulled_at

    def matches(self, reference: Reference) -> bool:
        """Whether the URI refers to this model, as far as is known without asking the server."""
        if reference.model_id:
            return self.model_id == reference.model_id
        if not reference.name:
            return reference.uri in {self.uri, self.location}
        meant = reference.latest or reference.alias in self.aliases or self.version == reference.version
        return self.name == reference.name and meant

    def same_model(self, other: Origin) -> bool:
        """Whether both are versions of one registered model, or identical if not registered."""
        if self.server != other.server:
            return False
        return self.name == other.name if self.name or other.name else self.location == other.location


def describe_resolution(uri: str, origin: Origin) -> str:
    """Return a sentence about the version that a URI was resolved to in the store."""
    version = f"is version {origin.version}, " if origin.version else "was "
    return shown(f"{uri} {version}pulled {origin.pulled} from {origin.server}", 400)


class Origins:
    """The records of one store. Creating the object does not access the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / ORIGINS

    def get(self, name: str) -> Origin | None:
        """Return where an installed model was pulled from; None if unknown."""
        import msgspec

        if next(self._records(name), None) is None:
            return None  # true of most models, whose manifests then need not be read
        try:
            manifest = read_manifest(self._root / name)
            path = self._path(name, manifest.digest if manifest is not None else "")
            return msgspec.json.decode(read_regular(path, _LARGEST), type=Origin)
        except (OSError, ModelError, msgspec.MsgspecError, RecursionError):
            return None

    def all(self) -> dict[str, Origin]:
        """Return the origins of all pulled models by local name."""
        names = sorted({path.name.partition("~")[0] for path in self._records("*")})
        found = {name: self.get(name) for name in names}
        return {name: origin for name, origin in found.items() if origin is not None}

    def find(self, reference: Reference) -> tuple[str, Origin] | None:
        """Return the name and origin of the model a URI refers to; None if it was not pulled.

        The same URI may have been pulled from two servers, or an alias may have moved: the latest pull counts. `latest`
        means the highest version pulled from the server used last.
        """
        meant = {name: origin for name, origin in self.all().items() if origin.matches(reference)}
        if not meant:
            return None
        name = max(meant, key=lambda name: meant[name].order)
        if reference.latest:
            here = [other for other, origin in meant.items() if origin.server == meant[name].server]
            name = max(here, key=lambda name: (meant[name].number, meant[name].order))
        return name, meant[name]

    def write(self, name: str, digest: str, origin: Origin) -> None:
        """Record the origin of a pulled model with that manifest digest. Raises OSError and StorageError."""
        place = max((known.place for known in self.all().values()), default=0) + 1
        self._write(name, digest, replace(origin, place=place))

    def _write(self, name: str, digest: str, origin: Origin) -> None:
        import msgspec

        paths.make_private(self._folder)
        write_atomically(self._path(name, digest), msgspec.json.format(msgspec.json.encode(origin), indent=1))

    def update(self, name: str, origin: Origin) -> None:
        """Update the record of an installed model. Raises ModelError and StorageError."""
        manifest = read_manifest(self._root / name)
        if manifest is not None:
            with storage_errors(self._folder):
                self._write(name, manifest.digest, origin)

    def forget(self, name: str, *, except_digest: str = "") -> None:
        """Delete the records of a name, except for the model with that manifest digest. Raises OSError."""
        for path in self._records(name):
            if not except_digest or path != self._path(name, except_digest):
                path.unlink(missing_ok=True)

    def _records(self, name: str) -> Iterator[Path]:
        return self._folder.glob(f"{name}~*.json")  # model names contain no tilde

    def _path(self, name: str, digest: str) -> Path:
        return self._folder / f"{name}~{digest[:16]}.json"
