"""Pushes models to MLflow servers: logs them in a run, registers them, and sets an alias.

The caller's folder is only read; what MLflow adds to MLmodel when logging a model goes into the server's copy. Nothing
is sent beyond what `push` is given, and nothing before the folder has been compared with its manifest.
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
from edgechat.i18n.sentence import Sentence
from edgechat.models.copying import storage_errors
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.manifest import MANIFEST, Digest, covered_files, hash_file, manifest_text, read_manifest
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.registry_uri import plain_server, scheme_of
from edgechat.models.sanitize import shown
from edgechat.registry.client import Artifacts, connect, server_uri, translate_errors
from edgechat.runtime import paths
from edgechat.runtime.progress import ByteCallback

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel

__all__ = ["Pushed", "connect", "push"]

ARTIFACT = "model"
"""Name of the model within its run."""

EXPERIMENT = "edgechat"
"""Experiment for runs if neither the caller nor MLFLOW_EXPERIMENT_NAME names one."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of `push`. Name, version and alias are empty if nothing was registered.

    Attributes:
        run_id: The run the model was logged in.
        model_id: MLflow's id of the logged model.
        name: The registered model.
        version: Its new version.
        alias: The alias that now refers to this version.
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
    on_progress: ByteCallback | None = None,
) -> Pushed:
    """Log a model folder on an MLflow server and register it.

    It becomes a logged model of the run, usable as `runs:/RUN/model`, `models:/m-ID` and `models:/NAME/VERSION`. A bare
    ONNX GenAI folder is first saved as an MLflow model.

    Args:
        folder: Anything `open_model` accepts. It is not modified.
        register: The registered model to add a version to; by default none.
        alias: An alias to point to the new version.
        tracking_uri: The server; defaults to MLFLOW_TRACKING_URI.
        run_id: An existing run to log in; by default a new one is created and ended.
        experiment: The experiment of a new run, created if missing; defaults to MLFLOW_EXPERIMENT_NAME, else
            "edgechat".
        on_progress: Called after each file with the bytes sent and the total.

    Raises:
        ModelError: The folder is not a usable model, does not match its manifest, or an alias lacks a name.
        RegistryError: The server cannot be reached or refuses; what was started there is marked as failed.
        StorageError: No temporary file can be written.
    """
    if alias and not register:
        raise ModelError(
            "Alias without a name",
            Sentence("{alias} needs a registered model.", alias=shown(alias)),
            "Add --register NAME.",
        )
    server = server_uri(tracking_uri)
    model = open_model(folder, trust=True)  # nothing in it is executed here
    digests = _digests(model.root)
    with _as_mlflow_model(model) as source:
        if source != model.root:
            digests = _digests(source)
        client = connect(server)
        with translate_errors(server):
            check_names(register, alias)
            with in_run(client, server, experiment, register or model.name, run_id) as run:
                logged = _log(client, server, run, source, digests, model, on_progress)
                version = _register(client, server, logged, run, register, alias) if register else ""
    return Pushed(run, logged.model_id, register or "", version, alias or "", plain_server(server))


@contextmanager
def _as_mlflow_model(model: ModelFolder) -> Iterator[Path]:
    """Provide the model's own folder, or for a bare ONNX GenAI folder an MLflow folder around the same files."""
    if model.mlflow is not None:
        yield model.root
        return
    with _temporary() as place:
        yield package(Source("genai", model.genai), place / ARTIFACT, name=model.name, link=True).root


@contextmanager
def _temporary() -> Iterator[Path]:
    """Provide a temporary folder, on the disk of edgechat's own files so that models can be linked."""
    with tempfile.TemporaryDirectory(prefix="push-", dir=paths.make_private(paths.cache_dir())) as place:
        yield Path(place)


def _digests(root: Path) -> dict[str, Digest]:
    """Return the digest of every file. Raises ModelError if the manifest disagrees."""
    shipped = read_manifest(root)
    try:
        digests = {file.relative: Digest(file.size, hash_file(file.path)) for file in covered_files(root)}
    except OSError as error:
        raise ModelError(
            "Model file cannot be read",
            Sentence("{filename}: {strerror}.", filename=error.filename or root, strerror=error.strerror or error),
        ) from error
    if shipped is not None:
        wrong = [path for path, expected in shipped.files.items() if path != MLMODEL and digests.get(path) != expected]
        if wrong:
            raise ModelError(
                "Model folder is damaged",
                Sentence(
                    "{wrong} in {root} is not what {manifest} says.",
                    wrong=shown(wrong[0]),
                    root=root,
                    manifest=MANIFEST,
                ),
                "`edgechat models verify` shows everything; nothing was sent.",
            )
    return digests


def check_names(register: str | None, alias: str | None) -> None:
    """Validate the names with MLflow before doing any work. Raises MlflowException."""
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
    """Provide the id of a run to log in: the given one, or a new one with that name, which ends with the block.

    See `push` for the experiment. A new run is marked as failed if the block raises. MLflow's own exceptions pass
    through.
    """
    if run_id is not None:
        yield run_id
        return
    run_id = _new_run(client, server, experiment, name)
    try:
        yield run_id
    except BaseException:
        with suppress(Exception):  # if the server still responds
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def _new_run(client: MlflowClient, server: str, experiment: str | None, name: str) -> str:
    experiment_id = experiment_in(client, server, experiment_name(experiment)).experiment_id
    run_id: str = client.create_run(experiment_id, run_name=name).info.run_id
    return run_id


def experiment_name(requested: str | None) -> str:
    """Return the experiment to use: the requested one, or MLFLOW_EXPERIMENT_NAME, or "edgechat"."""
    return requested or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def experiment_in(client: MlflowClient, server: str, name: str) -> Experiment:
    """Return the experiment with that name, created if missing. MLflow's own exceptions pass through."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = None
        if scheme_of(server) == "sqlite":  # MLflow would put the artifacts in the working directory
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
    on_progress: ByteCallback | None,
) -> LoggedModel:
    """Create the logged model and upload its files, as `mlflow.models.Model.log` does for a flavor's own save."""
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
        _send(Artifacts(logged.artifact_location, server), root, digests, _mlmodel(root, logged, run_id), on_progress)
    except BaseException:
        with suppress(Exception):
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
        raise
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _mlmodel(root: Path, logged: LoggedModel, run_id: str) -> bytes:
    """Return MLmodel as MLflow would have written it for this logged model."""
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
    artifacts: Artifacts, root: Path, digests: dict[str, Digest], mlmodel: bytes, on_progress: ByteCallback | None
) -> None:
    """Upload every file, the manifest last: if it is there, so is everything else."""
    digests = {**digests, MLMODEL: Digest(len(mlmodel), hashlib.sha256(mlmodel).hexdigest())}
    done, total = 0, sum(digest.size for digest in digests.values())
    with _temporary() as place:
        with storage_errors(place):
            (place / MLMODEL).write_bytes(mlmodel)
            (place / MANIFEST).write_bytes(manifest_text(digests))
        for name, digest in digests.items():
            artifacts.send(place / MLMODEL if name == MLMODEL else root / name, name.rpartition("/")[0])
            done += digest.size
            if on_progress is not None:
                on_progress(done, total)
        artifacts.send(place / MANIFEST, "")


def _register(client: MlflowClient, server: str, logged: LoggedModel, run_id: str, name: str, alias: str | None) -> str:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The server finds the logged model by its id; without one, MLflow would look in its default store.
    served = scheme_of(server) in {"http", "https"}
    source = f"models:/{logged.model_id}" if served else logged.artifact_location
    version = str(client.create_model_version(name, source, run_id, model_id=logged.model_id).version)
    client.set_logged_model_tags(
        logged.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([{"name": name, "version": version}])}
    )
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return version
