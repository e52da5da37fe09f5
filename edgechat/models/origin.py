"""Where the models in the store were pulled from.

A model's origin is kept beside it, never in its folder, which stays what its manifest says. The record is named after
the model and its manifest's digest: it is written before the model takes its place and counts only for the very model
it was written for, so that no crash and no copying about makes it speak of another one. Nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgechat.errors import ModelError
from edgechat.models.copying import writing
from edgechat.models.manifest import read_manifest, write_atomically
from edgechat.models.registry_uri import Reference
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular

ORIGINS = ".origins"
"""The folder in the store."""

_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from.

    Attributes:
        uri: What was asked for, without credentials: "models:/phi3@champion".
        server: The tracking server's URI, without credentials.
        pulled_at: When it was pulled, ISO 8601 in UTC.
        name: The registered model; "" for one pulled from a run or by its id.
        version: Its version; "" as above.
        aliases: Every alias that meant this version when the server was last asked.
        run_id: The run that logged it; "" where that is not known.
        model_id: MLflow's id of the logged model; "" for models older than MLflow 3.
        location: The artifacts' URI on the server, without credentials.
        place: Which pull into this store it was, for no clock tells that; 0 for those of older versions.
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
        """When it was pulled, for people: "2026-11-25 10:40 UTC"."""
        return shown(self.pulled_at[:16].replace("T", " ")) + " UTC"

    @property
    def what(self) -> str:
        """What it is on its server: "phi3 version 3", or the URI it was pulled by."""
        return shown(f"{self.name} version {self.version}" if self.name else self.uri)

    @property
    def number(self) -> int:
        """The version as a number; 0 where it is none."""
        return int(self.version) if self.version.isdecimal() else 0

    @property
    def order(self) -> tuple[int, str]:
        """What tells which of two was pulled later."""
        return self.place, self.pulled_at

    def is_meant_by(self, reference: Reference) -> bool:
        """Whether the URI names this model, as far as is known without asking."""
        if reference.model_id:
            return self.model_id == reference.model_id
        if not reference.name:
            return reference.uri in {self.uri, self.location}
        meant = reference.latest or reference.alias in self.aliases or self.version == reference.version
        return self.name == reference.name and meant

    def same_model(self, other: Origin) -> bool:
        """Whether both are versions of one registered model, or the very same where they are not registered."""
        if self.server != other.server:
            return False
        return self.name == other.name if self.name or other.name else self.location == other.location


def told(uri: str, origin: Origin) -> str:
    """The sentence on a URI that was answered from the store."""
    version = f"is version {origin.version}, " if origin.version else "was "
    return shown(f"{uri} {version}pulled {origin.pulled} from {origin.server}", 400)


class Origins:
    """The records of one store. Making the object touches no disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / ORIGINS

    def get(self, name: str) -> Origin | None:
        """Where an installed model was pulled from; None where that is not known."""
        import msgspec

        if next(self._records(name), None) is None:
            return None  # as for most models: their manifests need not be read
        try:
            manifest = read_manifest(self._root / name)
            path = self._path(name, manifest.digest if manifest is not None else "")
            return msgspec.json.decode(read_regular(path, _LARGEST), type=Origin)
        except (OSError, ModelError, msgspec.MsgspecError, RecursionError):
            return None

    def all(self) -> dict[str, Origin]:
        """The origins of all models that were pulled, by their names here."""
        names = sorted({path.name.partition("~")[0] for path in self._records("*")})
        found = {name: self.get(name) for name in names}
        return {name: origin for name, origin in found.items() if origin is not None}

    def find(self, reference: Reference) -> tuple[str, Origin] | None:
        """The name and the origin of the model that a URI means; None where none was pulled.

        The same URI may have been pulled from two servers, or an alias may have moved on: what was pulled last counts.
        For `latest`, it is the highest version pulled from the server that was last pulled from.
        """
        meant = {name: origin for name, origin in self.all().items() if origin.is_meant_by(reference)}
        if not meant:
            return None
        name = max(meant, key=lambda name: meant[name].order)
        if reference.latest:
            here = [other for other, origin in meant.items() if origin.server == meant[name].server]
            name = max(here, key=lambda name: (meant[name].number, meant[name].order))
        return name, meant[name]

    def write(self, name: str, digest: str, origin: Origin) -> None:
        """Record the origin of a model that is pulled, with that manifest digest. Raises OSError and StorageError."""
        place = max((known.place for known in self.all().values()), default=0) + 1
        self._write(name, digest, replace(origin, place=place))

    def _write(self, name: str, digest: str, origin: Origin) -> None:
        import msgspec

        paths.make_private(self._folder)
        write_atomically(self._path(name, digest), msgspec.json.format(msgspec.json.encode(origin), indent=1))

    def update(self, name: str, origin: Origin) -> None:
        """Put right what is known of an installed model. Raises ModelError and StorageError."""
        manifest = read_manifest(self._root / name)
        if manifest is not None:
            with writing(self._folder):
                self._write(name, manifest.digest, origin)

    def forget(self, name: str, *, but: str = "") -> None:
        """Drop what is recorded for a name, but for the model with that manifest digest. Raises OSError."""
        for path in self._records(name):
            if not but or path != self._path(name, but):
                path.unlink(missing_ok=True)

    def _records(self, name: str) -> Iterator[Path]:
        return self._folder.glob(f"{name}~*.json")  # no model's name has a tilde in it

    def _path(self, name: str, digest: str) -> Path:
        return self._folder / f"{name}~{digest[:16]}.json"
