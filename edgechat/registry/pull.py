"""Models from MLflow servers: pull, and what a URI means on its server now.

A pull goes to the store whole or not at all, and goes on where a broken one stopped. The tracking store is only read:
files are fetched one by one into edgechat's own folder. What a server sends is checked by `download` and by the store
before anyone loads it. Nothing here decides when to go to a network; whoever calls these functions does.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.errors import ModelError, RegistryError
from edgechat.models.folder import ModelFolder
from edgechat.models.manifest import quick_check
from edgechat.models.names import check_name, name_for
from edgechat.models.origin import Origin
from edgechat.models.registry_uri import Reference, parse_reference, plain_server, scheme_of
from edgechat.models.sanitize import shown
from edgechat.models.store import ModelStore
from edgechat.registry.client import NOT_THERE, Artifacts, connect, must_exist, server_uri, speaking_to
from edgechat.registry.push import ARTIFACT
from edgechat.registry.resumable_download import Fetched, clear, fetch_files, list_files
from edgechat.runtime import paths
from edgechat.runtime.progress import ByteCallback

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Told = Callable[[str, int, int], None]
"""Called with "fetching" or "checking", the bytes done and the bytes in all."""

PULLS = ".pulls"
"""The folder in the store that keeps broken downloads, at most one for each name."""

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What `pull` did.

    Attributes:
        model: The installed model, with its origin.
        fetched: What was brought; None when the model was here already.
        before: The version whose place it took; "" when it took none.
    """

    model: ModelFolder
    fetched: Fetched | None = None
    before: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server says of a model that was pulled from it.

    Attributes:
        now: The version that its URI means now, or for one pulled by its version the newest; "" where there is none.
        state: "current", "outdated", "gone" from the server, "fixed" for one pulled by an id, or "unknown" where the
            server could not be asked.
    """

    now: str
    state: str


def pull(
    uri: str,
    *,
    name: str | None = None,
    replace: bool = False,
    tracking_uri: str | None = None,
    store: ModelStore | None = None,
    told: Told | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Pulled:
    """Bring a model from an MLflow server into the store.

    A broken pull goes on with the files that are whole. What is installed stays usable until the new model takes its
    place; an older version of the same registered model is replaced without being asked.

    Args:
        uri: See `reference.FORMS`; also `mlflow-artifacts:/...` and the http(s) form of it.
        name: What to call it here; made from the registered name when left out.
        replace: Take the place of another model of that name.
        tracking_uri: The server; MLFLOW_TRACKING_URI when left out.
        store: Where to; the user's own when left out.
        told: See `Told`.
        on_wait: Called once if another process is installing a model of that name.

    Raises:
        ModelError: The URI is not understood, or the model is not usable, damaged, or its name is taken.
        RegistryError: The server cannot be asked, or does not have it.
        StorageError: There is no room, or the store cannot be written.
    """
    reference = parse_reference(uri)
    if scheme_of(reference.uri) in {"http", "https"}:
        base, found, path = uri.strip().partition(_ARTIFACTS)
        if not found or not path.strip("/"):
            raise ModelError(
                "Model URI not understood",
                f"{shown(reference.uri)} is no folder of artifacts on an MLflow server.",
                f"It would look like http://HOST:5000{_ARTIFACTS}/...; a server is named with --tracking-uri.",
            )
        tracking_uri = base
    store = store if store is not None else ModelStore()
    server = server_uri(tracking_uri)
    must_exist(server)
    client = connect(server)
    with speaking_to(server):
        found_there, location, suggested = _look_up(client, server, reference)
    name = check_name(name) if name is not None else _name_here(store, found_there, suggested)
    with store.lock(name, on_wait):
        here = store.origins.get(name)
        if store.has(name):
            if here is not None and _is_here(store, name, here, found_there):
                # A URI that may mean another version one day says more than one that cannot.
                asked = here.uri if reference.version else found_there.uri
                now = dataclasses.replace(here, uri=asked, aliases=found_there.aliases)
                _settle(store, name, now)
                store.origins.update(name, now)
                return Pulled(store.get(name))
            if not replace and (here is None or not here.same_model(found_there)):
                raise _taken(name, here)
        model, fetched = _install(store, name, Artifacts(location, server), found_there, told)
        _settle(store, name, found_there)
    return Pulled(model, fetched, here.version if here is not None and here.same_model(found_there) else "")


def _install(
    store: ModelStore, name: str, remote: Artifacts, origin: Origin, told: Told | None
) -> tuple[ModelFolder, Fetched]:
    files = list_files(remote, origin.uri)
    place = paths.make_private(paths.make_private(store.root) / PULLS) / name
    fetched = fetch_files(remote, files, place, asked=origin.uri, progress=_stage(told, "fetching"))
    try:
        model = store.add(
            fetched.folder, name, replace=True, link=True, origin=origin, on_progress=_stage(told, "checking")
        )
    except ModelError:
        clear(place)  # all of it is here, and it is of no use
        raise
    clear(place)
    return model, fetched


def _stage(told: Told | None, what: str) -> ByteCallback | None:
    return (lambda done, total: told(what, done, total)) if told is not None else None


def _is_here(store: ModelStore, name: str, here: Origin, there: Origin) -> bool:
    same = here.same_model(there) and (here.version, here.location) == (there.version, there.location)
    return same and quick_check(store.root / name).state != "damaged"


def _name_here(store: ModelStore, origin: Origin, suggested: str) -> str:
    """The name for a model that was given none: the one it was pulled to before, or the registry's."""
    known = [name for name, here in store.origins.all().items() if here.same_model(origin) and here.uri == origin.uri]
    return known[0] if len(known) == 1 else name_for(Path(suggested))


def _settle(store: ModelStore, name: str, origin: Origin) -> None:
    """Take the aliases that a model has from those that had them before."""
    for other, known in store.origins.all().items():
        moved = set(known.aliases) & set(origin.aliases)
        if other != name and origin.name and known.same_model(origin) and known.version != origin.version and moved:
            left = tuple(alias for alias in known.aliases if alias not in moved)
            store.origins.update(other, dataclasses.replace(known, aliases=left))


def _taken(name: str, here: Origin | None) -> ModelError:
    what = f" ({here.what} from {here.server})" if here is not None else ""
    return ModelError(
        "Name is taken",
        f"Another model is called {name} here{shown(what)}.",
        "Give another name with --name NAME, or put it in the place of the other one with --replace.",
    )


def _look_up(client: MlflowClient, server: str, reference: Reference) -> tuple[Origin, str, str]:
    """What a URI means on its server now: the origin, the artifacts' URI, and a name for it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    origin = Origin(reference.uri, plain_server(server), now)
    if reference.name:
        version = _version_meant(client, reference)
        location = client.get_model_version_download_uri(reference.name, version.version)
        suggested = reference.name
        origin = dataclasses.replace(
            origin,
            name=reference.name,
            version=str(version.version),
            aliases=tuple(sorted({*version.aliases, reference.alias} - {""})),
            run_id=version.run_id or "",
            model_id=version.model_id or _logged_id(version.source),
        )
    elif reference.model_id:
        logged = client.get_logged_model(reference.model_id)
        location = logged.artifact_location
        suggested = logged.name if logged.name and logged.name != ARTIFACT else reference.model_id
        origin = dataclasses.replace(origin, run_id=logged.source_run_id or "", model_id=logged.model_id)
    elif reference.run_id:
        location, model_id = _in_run(client, server, reference)
        last = reference.path.rpartition("/")[2]
        suggested = last if last != ARTIFACT else f"{ARTIFACT}-{reference.run_id[:8]}"
        origin = dataclasses.replace(origin, run_id=reference.run_id, model_id=model_id)
    else:
        location = reference.uri
        suggested = location.rpartition("/")[2]
    return dataclasses.replace(origin, location=plain_server(location)), location, suggested


def _version_meant(client: MlflowClient, reference: Reference) -> ModelVersion:
    version = reference.version
    if reference.alias:
        version = client.get_model_version_by_alias(reference.name, reference.alias).version
    elif reference.latest:
        version = _newest(client, reference.name)
        if not version:
            raise RegistryError(NOT_THERE, f"{reference.name} has no versions yet.", "Push one first.")
    return client.get_model_version(reference.name, version)


def _newest(client: MlflowClient, name: str) -> str:
    """The highest version of a registered model; "" where it has none."""
    latest = client.get_registered_model(name).latest_versions  # one for each of the stages of old
    return str(max((int(version.version) for version in latest), default=""))


def _logged_id(source: str | None) -> str:
    try:
        return parse_reference(source or "").model_id
    except ModelError:
        return ""


def _in_run(client: MlflowClient, server: str, reference: Reference) -> tuple[str, str]:
    """Where a run's model lies, and its id: among the run's artifacts, or since MLflow 3 as a model of its own."""
    from mlflow.utils.uri import append_to_uri_path

    run = client.get_run(reference.run_id)
    location = append_to_uri_path(run.info.artifact_uri, reference.path)
    if any(True for _ in Artifacts(location, server).entries("")):
        return location, ""
    name, _, below = reference.path.partition("/")
    outputs = run.outputs.model_outputs if run.outputs is not None else []
    for output in reversed(outputs):
        logged = client.get_logged_model(output.model_id)
        if logged.name == name:
            location = logged.artifact_location
            return (append_to_uri_path(location, below) if below else location), logged.model_id
    raise RegistryError(
        NOT_THERE,
        f"{plain_server(server)}: the run {shown(reference.run_id)} has no model called {shown(name)}.",
        "The run's page shows what was logged in it.",
    )


def ask_servers(
    origins: Iterable[Origin], tracking_uri: str | None = None
) -> tuple[list[Standing], list[RegistryError]]:
    """Ask the servers that models came from what their URIs mean now.

    Args:
        origins: The models.
        tracking_uri: A server to ask in place of theirs.

    Returns:
        The standing of each model in order, and why servers could not be asked, one error for each.
    """
    clients: dict[str, MlflowClient] = {}
    failed: dict[str, RegistryError] = {}
    standings = []
    for origin in origins:
        server = tracking_uri or _with_credentials(origin.server)
        answer = Standing("", "unknown")
        if server not in failed:
            try:
                if server not in clients:
                    must_exist(server)
                    clients[server] = connect(server)
                answer = _standing(clients[server], origin)
            except RegistryError as error:
                failed[server] = error
        standings.append(answer)
    return standings, list(failed.values())


def _with_credentials(server: str) -> str:
    """The server as the environment writes it, with its user and password, where that is the same one."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    return named if plain_server(named) == server else server


def _standing(client: MlflowClient, origin: Origin) -> Standing:
    if not origin.name:
        return Standing("", "fixed")
    reference = parse_reference(origin.uri)
    try:
        with speaking_to(origin.server):
            if reference.alias:
                now = str(client.get_model_version_by_alias(origin.name, reference.alias).version)
            else:
                now = _newest(client, origin.name)
    except RegistryError as error:
        if error.title != NOT_THERE:
            raise
        return Standing("", "gone")
    return Standing(now, "current" if now == origin.version else "outdated")
