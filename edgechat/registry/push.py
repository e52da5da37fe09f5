"""Models to MLflow servers: logged in a run, registered, and given an alias.

The caller's folder is read and left as it is; what MLflow writes into MLmodel when it logs a model goes into the copy
on the server. Nothing is sent but what `push` was called with, and nothing before the folder was compared with its
manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.errors import ModelError
from edgechat.flavor.package import Source, package
from edgechat.models.copying import storage_errors
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.manifest import MANIFEST, Digest, covered_files, hash_file, manifest_text, read_manifest
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.registry_uri import plain_server, scheme_of
from edgechat.models.sanitize import shown
from edgechat.registry.client import Artifacts, connect, server_uri, speaking_to
from edgechat.runtime import paths
from edgechat.runtime.progress import ByteCallback

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel

__all__ = ["Pushed", "connect", "push"]

ARTIFACT = "model"
"""What the model is called within its run."""

EXPERIMENT = "edgechat"
"""Where runs go for which neither the caller nor MLFLOW_EXPERIMENT_NAME names an experiment."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What `push` made. Name, version and alias are empty when nothing was registered.

    Attributes:
        run_id: The run the model was logged into.
        model_id: MLflow's id of the logged model.
        name: The registered model.
        version: Its new version.
        alias: The alias that now means this version.
        tracking_uri: The server, without credentials.
    """

    run_id: str
    model_id: str
    name: str
    version: str
    alias: str
    tracking_uri: str


def push(
    folder: Path,
    *,
    register: str | None = None,
    alias: str | None = None,
    tracking_uri: str | None = None,
    run_id: str | None = None,
    experiment: str | None = None,
    progress: ByteCallback | None = None,
) -> Pushed:
    """Log a model folder on an MLflow server, and register it.

    It becomes a logged model of the run, usable as `runs:/RUN/model`, `models:/m-ID` and `models:/NAME/VERSION`. A bare
    ONNX GenAI folder is saved as an MLflow model on the way.

    Args:
        folder: What `open_model` accepts. It is not changed.
        register: The registered model to make a version of; none is made when left out.
        alias: An alias that is to mean the new version.
        tracking_uri: The server; MLFLOW_TRACKING_URI when left out.
        run_id: An existing run to log into; a new one is made and ended when left out.
        experiment: The experiment of a new run, made if there is none; MLFLOW_EXPERIMENT_NAME, else "edgechat".
        progress: Told the bytes sent, a file at a time.

    Raises:
        ModelError: The folder is no usable model, is not what its manifest says, or an alias lacks a name.
        RegistryError: The server cannot be reached or refuses; what was begun there is marked as failed.
        StorageError: No temporary file can be written.
    """
    if alias and not register:
        raise ModelError("Alias without a name", f"{shown(alias)} needs a registered model.", "Add --register NAME.")
    server = server_uri(tracking_uri)
    model = open_model(folder, trust=True)  # nothing of it is run here
    digests = _digests(model.root)
    with _as_mlflow_model(model) as source:
        if source != model.root:
            digests = _digests(source)
        client = connect(server)
        with speaking_to(server):
            check_names(register, alias)
            with in_run(client, server, experiment, register or model.name, run_id) as run:
                logged = _log(client, server, run, source, digests, model, progress)
                version = _register(client, server, logged, run, register, alias) if register else ""
    return Pushed(run, logged.model_id, register or "", version, alias or "", plain_server(server))


@contextmanager
def _as_mlflow_model(model: ModelFolder) -> Iterator[Path]:
    """The model's own folder, or for a bare ONNX GenAI folder an MLflow folder around the same files."""
    if model.mlflow is not None:
        yield model.root
        return
    with _temporary() as place:
        yield package(Source("genai", model.genai), place / ARTIFACT, name=model.name, link=True).root


@contextmanager
def _temporary() -> Iterator[Path]:
    """A folder that goes when the block ends; on the disk of edgechat's own files, where links to models work."""
    with tempfile.TemporaryDirectory(prefix="push-", dir=paths.make_private(paths.cache_dir())) as place:
        yield Path(place)


def _digests(root: Path) -> dict[str, Digest]:
    """What every file of the model is. Raises ModelError where its manifest says otherwise."""
    shipped = read_manifest(root)
    try:
        digests = {file.relative: Digest(file.size, hash_file(file.path)) for file in covered_files(root)}
    except OSError as error:
        raise ModelError(
            "Model file cannot be read", f"{error.filename or root}: {error.strerror or error}."
        ) from error
    if shipped is not None:
        wrong = [path for path, told in shipped.files.items() if path != MLMODEL and digests.get(path) != told]
        if wrong:
            raise ModelError(
                "Model folder is damaged",
                f"{shown(wrong[0])} in {root} is not what {MANIFEST} says.",
                "`edgechat models verify` shows everything; nothing was sent.",
            )
    return digests


def check_names(register: str | None, alias: str | None) -> None:
    """Have MLflow look at the names before any work is done. Raises MlflowException."""
    from mlflow.utils import validation

    if register is not None:
        validation._validate_model_name(register)
    if alias is not None:
        validation._validate_model_alias_name(alias)
        validation._validate_model_alias_name_reserved(alias)


@contextmanager
def in_run(
    client: MlflowClient, server: str, experiment: str | None, name: str, run_id: str | None = None
) -> Iterator[str]:
    """The id of a run to log into: the one given, or a new one of that name, which ends with the block.

    For the experiment see `push`. A new run is marked as failed where the block raises. MLflow's own errors come
    through.
    """
    if run_id is not None:
        yield run_id
        return
    run_id = _new_run(client, server, experiment, name)
    try:
        yield run_id
    except BaseException:
        with suppress(Exception):  # as far as the server still listens
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def _new_run(client: MlflowClient, server: str, experiment: str | None, name: str) -> str:
    experiment_id = experiment_in(client, server, experiment_name(experiment)).experiment_id
    run_id: str = client.create_run(experiment_id, run_name=name).info.run_id
    return run_id


def experiment_name(wanted: str | None) -> str:
    """The experiment to use: the one wanted, or MLFLOW_EXPERIMENT_NAME, or else "edgechat"."""
    return wanted or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def experiment_in(client: MlflowClient, server: str, name: str) -> Experiment:
    """The experiment of that name on a server, made if there is none. MLflow's own errors come through."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = None
        if scheme_of(server) == "sqlite":  # MLflow would put the artifacts into the working directory
            database = Path(server.partition(":")[2].removeprefix("///").partition("?")[0]).absolute()
            place = (database.parent / "mlartifacts" / name).as_uri()
        found = client.get_experiment(client.create_experiment(name, artifact_location=place))
    return found


def _log(
    client: MlflowClient,
    server: str,
    run_id: str,
    root: Path,
    digests: dict[str, Digest],
    model: ModelFolder,
    progress: ByteCallback | None,
) -> LoggedModel:
    """Make the logged model and send its files, as `mlflow.models.Model.log` does for a flavor that saves itself."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    known = {
        "architecture": model.architecture,
        "quantisation": model.quantisation,
        "licence": model.licence,
        "context_length": model.context_length,
        "size_bytes": model.size_bytes,
    }
    logged = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=ARTIFACT,
        source_run_id=run_id,
        params={key: str(value) for key, value in known.items() if value},
    )
    try:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        _send(Artifacts(logged.artifact_location, server), root, digests, _mlmodel(root, logged, run_id), progress)
    except BaseException:
        with suppress(Exception):
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
        raise
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _mlmodel(root: Path, logged: LoggedModel, run_id: str) -> bytes:
    """MLmodel as MLflow would have written it for this logged model."""
    import yaml

    data = yaml.safe_load((root / MLMODEL).read_text("utf-8"))
    data |= {
        "artifact_path": logged.artifact_location,
        "model_id": logged.model_id,
        "model_uuid": logged.model_id,
        "run_id": run_id,
    }
    return yaml.safe_dump(data, default_flow_style=False).encode()


def _send(
    artifacts: Artifacts, root: Path, digests: dict[str, Digest], mlmodel: bytes, progress: ByteCallback | None
) -> None:
    """Send every file, the manifest last: where it is, all else is."""
    digests = {**digests, MLMODEL: Digest(len(mlmodel), hashlib.sha256(mlmodel).hexdigest())}
    done, total = 0, sum(digest.size for digest in digests.values())
    with _temporary() as place:
        with storage_errors(place):
            (place / MLMODEL).write_bytes(mlmodel)
            (place / MANIFEST).write_bytes(manifest_text(digests))
        for name, digest in digests.items():
            artifacts.send(place / MLMODEL if name == MLMODEL else root / name, name.rpartition("/")[0])
            done += digest.size
            if progress is not None:
                progress(done, total)
        artifacts.send(place / MANIFEST, "")


def _register(client: MlflowClient, server: str, logged: LoggedModel, run_id: str, name: str, alias: str | None) -> str:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server finds the logged model by its id; without one, MLflow would look for it in its default store.
    served = scheme_of(server) in {"http", "https"}
    source = f"models:/{logged.model_id}" if served else logged.artifact_location
    version = str(client.create_model_version(name, source, run_id, model_id=logged.model_id).version)
    client.set_logged_model_tags(
        logged.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([{"name": name, "version": version}])}
    )
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return version
