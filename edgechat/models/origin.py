"""Where the models in the store were pulled from.

A model's origin is kept beside it, never in its folder, which stays what its manifest says. The record is named after
the model and its manifest's digest: it is written before the model takes its place and counts only for the very model
it was written for, so that no crash and no copying about makes it speak of another one. Nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from edgechat import paths
from edgechat.models.manifest import write_atomically
from edgechat.models.reference import Reference
from edgechat.models.words import shown

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

    @property
    def pulled(self) -> str:
        """When it was pulled, for people: "2026-11-25 10:40 UTC"."""
        return shown(self.pulled_at[:16].replace("T", " ")) + " UTC"

    @property
    def what(self) -> str:
        """What it is on its server: "phi3 version 3", or the URI it was pulled by."""
        return shown(f"{self.name} version {self.version}" if self.name else self.uri)

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


def best(origins: dict[str, Origin], reference: Reference) -> str | None:
    """The name of the model that a URI means; None where none is known.

    The same URI may have been pulled from two servers, or an alias may have moved on: what was pulled last counts. For
    `latest`, it is the highest version pulled from the server that was last pulled from.
    """
    meant = {name: origin for name, origin in origins.items() if origin.is_meant_by(reference)}
    if not meant:
        return None
    newest = max(meant, key=lambda name: meant[name].pulled_at)
    if not reference.latest:
        return newest
    here = [name for name, origin in meant.items() if origin.server == meant[newest].server]
    return max(here, key=lambda name: (int(meant[name].version or 0), meant[name].pulled_at))


def write_origin(root: Path, name: str, digest: str, origin: Origin) -> None:
    """Record a model's origin. Raises OSError and StorageError."""
    import msgspec

    raw = msgspec.json.format(msgspec.json.encode(asdict(origin)), indent=1)
    write_atomically(paths.make_private(root / ORIGINS) / f"{_stem(name, digest)}.json", raw)


def read_origin(root: Path, name: str, digest: str) -> Origin | None:
    """A model's origin; None where there is no record, or none that can be read."""
    import msgspec

    path = root / ORIGINS / f"{_stem(name, digest)}.json"
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return msgspec.json.decode(path.read_bytes(), type=Origin)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def recorded(root: Path) -> Iterator[str]:
    """The names that have a record, whether it still counts or not."""
    with suppress(OSError):
        for path in sorted((root / ORIGINS).iterdir()):
            if path.suffix == ".json" and "~" in path.name:
                yield path.name.partition("~")[0]


def forget_origins(root: Path, name: str, *, but: str = "") -> None:
    """Drop what is recorded for a name, but for the model with that manifest digest."""
    kept = f"{_stem(name, but)}.json" if but else ""
    for path in (root / ORIGINS).glob(f"{name}~*.json"):
        if path.name != kept:
            path.unlink(missing_ok=True)


def _stem(name: str, digest: str) -> str:
    return f"{name}~{digest[:16]}"  # no model's name has a tilde in it
