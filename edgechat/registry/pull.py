"""Pulls models from MLflow servers, and resolves what a URI refers to on its server now.

A pulled model is installed completely or not at all, and an interrupted pull resumes. The tracking store is only read:
files are downloaded one by one into edgechat's own folder, and checked by `resumable_download` and the store before
anyone loads them. Nothing here decides when to use a network; the caller does.
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
from edgechat.i18n.sentence import Sentence
from edgechat.models.folder import ModelFolder
from edgechat.models.manifest import quick_check
from edgechat.models.names import check_name, name_for
from edgechat.models.origin import Origin
from edgechat.models.registry_uri import Reference, parse_reference, plain_server, scheme_of
from edgechat.models.sanitize import shown
from edgechat.models.store import ModelStore
from edgechat.registry.client import NOT_THERE, Artifacts, connect, require_existing, server_uri, translate_errors
from edgechat.registry.push import ARTIFACT
from edgechat.registry.resumable_download import Fetched, clear, fetch_files, list_files
from edgechat.runtime import paths
from edgechat.runtime.progress import ByteCallback

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

StepCallback = Callable[[str, int, int], None]
"""Called with "fetching" or "checking", the bytes done and the bytes in all."""

PULLS = ".pulls"
"""Folder in the store for interrupted downloads, at most one per name."""

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True)
class Pulled:
    """The result of `pull`.

    Attributes:
        model: The installed model, with its origin.
        fetched: What was downloaded; None if the model was already installed.
        before: The version it replaced; "" if none.
    """

    model: ModelFolder
    fetched: Fetched | None = None
    before: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What a server reports about a model that was pulled from it.

    Attributes:
        now: The version its URI refers to now, or the newest one if it was pulled by version; "" if there is none.
        state: "current", "outdated", "gone" from the server, "fixed" if it was pulled by an id, or "unknown" if the
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
    on_progress: StepCallback | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Pulled:
    """Install a model from an MLflow server in the store.

    An interrupted pull resumes with the files that are complete. An installed model stays usable until the new one
    replaces it; an older version of the same registered model is replaced without asking.

    Args:
        uri: See `registry_uri.FORMS`; also `mlflow-artifacts:/...` and its http(s) form.
        name: Local name; derived from the registered name by default.
        replace: Replace another model with that name.
        tracking_uri: The server; defaults to MLFLOW_TRACKING_URI.
        store: The store to install in; defaults to the user's.
        on_progress: Called with "fetching" or "checking", the bytes done and the total.
        on_wait: Called once if another process is installing a model with that name.

    Raises:
        ModelError: The URI is not understood, or the model is unusable, damaged, or its name is taken.
        RegistryError: The server cannot be reached, or does not have it.
        StorageError: There is not enough space, or the store cannot be written.
    """
    reference = parse_reference(uri)
    if scheme_of(reference.uri) in {"http", "https"}:
        base, found, path = uri.strip().partition(_ARTIFACTS)
        if not found or not path.strip("/"):
            raise ModelError(
                "Model URI not understood",
                Sentence("{uri} is no folder of artifacts on an MLflow server.", uri=shown(reference.uri)),
                Sentence(
                    "It would look like http://HOST:5000{artifacts}/...; a server is named with --tracking-uri.",
                    artifacts=_ARTIFACTS,
                ),
            )
        tracking_uri = base
    store = store if store is not None else ModelStore()
    server = server_uri(tracking_uri)
    require_existing(server)
    client = connect(server)
    with translate_errors(server):
        found_there, location, suggested = _look_up(client, server, reference)
    name = check_name(name) if name is not None else _name_here(store, found_there, suggested)
    with store.lock(name, on_wait):
        here = store.origins.get(name)
        if store.has(name):
            if here is not None and _is_here(store, name, here, found_there):
                # A URI that may refer to another version one day is more informative than one that cannot.
                requested = here.uri if reference.version else found_there.uri
                now = dataclasses.replace(here, uri=requested, aliases=found_there.aliases)
                _settle(store, name, now)
                store.origins.update(name, now)
                return Pulled(store.get(name))
            if not replace and (here is None or not here.same_model(found_there)):
                raise _name_taken(name, here)
        model, fetched = _install(store, name, Artifacts(location, server), found_there, on_progress)
        _settle(store, name, found_there)
    return Pulled(model, fetched, here.version if here is not None and here.same_model(found_there) else "")


def _install(
    store: ModelStore, name: str, remote: Artifacts, origin: Origin, on_progress: StepCallback | None
) -> tuple[ModelFolder, Fetched]:
    files = list_files(remote, origin.uri)
    place = paths.make_private(paths.make_private(store.root) / PULLS) / name
    fetched = fetch_files(remote, files, place, requested=origin.uri, on_progress=_stage(on_progress, "fetching"))
    try:
        model = store.add(
            fetched.folder, name, replace=True, link=True, origin=origin, on_progress=_stage(on_progress, "checking")
        )
    except ModelError:
        clear(place)  # the download is complete but unusable
        raise
    clear(place)
    return model, fetched


def _stage(on_progress: StepCallback | None, what: str) -> ByteCallback | None:
    return (lambda done, total: on_progress(what, done, total)) if on_progress is not None else None


def _is_here(store: ModelStore, name: str, here: Origin, there: Origin) -> bool:
    same = here.same_model(there) and (here.version, here.location) == (there.version, there.location)
    return same and quick_check(store.root / name).state != "damaged"


def _name_here(store: ModelStore, origin: Origin, suggested: str) -> str:
    """Return the name for a model pulled without one: its previous local name, or the registry's."""
    known = [name for name, here in store.origins.all().items() if here.same_model(origin) and here.uri == origin.uri]
    return known[0] if len(known) == 1 else name_for(Path(suggested))


def _settle(store: ModelStore, name: str, origin: Origin) -> None:
    """Remove the model's aliases from the models that had them before."""
    for other, known in store.origins.all().items():
        moved = set(known.aliases) & set(origin.aliases)
        if other != name and origin.name and known.same_model(origin) and known.version != origin.version and moved:
            left = tuple(alias for alias in known.aliases if alias not in moved)
            store.origins.update(other, dataclasses.replace(known, aliases=left))


def _name_taken(name: str, here: Origin | None) -> ModelError:
    what = f" ({here.what} from {here.server})" if here is not None else ""
    return ModelError(
        "Name is taken",
        Sentence("Another model is called {name} here{what}.", name=name, what=shown(what)),
        "Give another name with --name NAME, or put it in the place of the other one with --replace.",
    )


def _look_up(client: MlflowClient, server: str, reference: Reference) -> tuple[Origin, str, str]:
    """Return what a URI refers to on its server now: the origin, the artifacts' URI, and a suggested name."""
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
            raise RegistryError(
                NOT_THERE, Sentence("{name} has no versions yet.", name=reference.name), "Push one first."
            )
    return client.get_model_version(reference.name, version)


def _newest(client: MlflowClient, name: str) -> str:
    """Return the highest version of a registered model; "" if it has none."""
    latest = client.get_registered_model(name).latest_versions  # one per (deprecated) stage
    return str(max((int(version.version) for version in latest), default=""))


def _logged_id(source: str | None) -> str:
    try:
        return parse_reference(source or "").model_id
    except ModelError:
        return ""


def _in_run(client: MlflowClient, server: str, reference: Reference) -> tuple[str, str]:
    """Return the location and id of a run's model: among the run's artifacts, or since MLflow 3 a logged model."""
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
        Sentence(
            "{plain_server}: the run {run_id} has no model called {name}.",
            plain_server=plain_server(server),
            run_id=shown(reference.run_id),
            name=shown(name),
        ),
        "The run's page shows what was logged in it.",
    )


def check_servers(
    origins: Iterable[Origin], tracking_uri: str | None = None
) -> tuple[list[ServerStatus], list[RegistryError]]:
    """Ask the servers that models came from what their URIs refer to now.

    Args:
        origins: The models.
        tracking_uri: A server to ask instead of theirs.

    Returns:
        The status of each model in order, and one error for each server that could not be asked.
    """
    clients: dict[str, MlflowClient] = {}
    failed: dict[str, RegistryError] = {}
    statuses = []
    for origin in origins:
        server = tracking_uri or _with_credentials(origin.server)
        answer = ServerStatus("", "unknown")
        if server not in failed:
            try:
                if server not in clients:
                    require_existing(server)
                    clients[server] = connect(server)
                answer = _status(clients[server], origin)
            except RegistryError as error:
                failed[server] = error
        statuses.append(answer)
    return statuses, list(failed.values())


def _with_credentials(server: str) -> str:
    """Return the server's URI from the environment, with user and password, if it is the same server."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    return named if plain_server(named) == server else server


def _status(client: MlflowClient, origin: Origin) -> ServerStatus:
    if not origin.name:
        return ServerStatus("", "fixed")
    reference = parse_reference(origin.uri)
    try:
        with translate_errors(origin.server):
            if reference.alias:
                now = str(client.get_model_version_by_alias(origin.name, reference.alias).version)
            else:
                now = _newest(client, origin.name)
    except RegistryError as error:
        if error.title != NOT_THERE:
            raise
        return ServerStatus("", "gone")
    return ServerStatus(now, "current" if now == origin.version else "outdated")
