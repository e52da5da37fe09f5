"""The MLflow flavor for onnxruntime-genai: save, log and load such models like any other MLflow model.

Modelled on MLflow's own flavors, with two differences: nothing is pickled, and requirements are never inferred. MLflow
is imported inside the functions that need it because it takes seconds; the chat path never comes here.

    import edgechat.flavor

    info = edgechat.flavor.log_model("./phi3-onnx", name="phi3", registered_model_name="phi3")
    model = mlflow.pyfunc.load_model(info.model_uri)
    model.predict({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64})
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechat.errors import ModelError
from edgechat.flavor.save import DATA, FLAVOR, Weights, carries_own_code, environment, new_model, write_model
from edgechat.flavor.signature import mlflow_signature
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.opt_outs import silence_libraries

if TYPE_CHECKING:
    from edgechat.flavor.pyfunc import PyfuncModel
    from edgechat.flavor.scoring import ChatModel

# At import rather than in the functions, since the caller may import mlflow next.
silence_libraries()

__all__ = ["DATA", "FLAVOR", "load_model", "log_model", "save_model"]


def save_model(
    genai_model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    conda_env: Mapping[str, Any] | str | None = None,
    code_paths: Sequence[str | os.PathLike[str]] | None = None,
    mlflow_model: Any = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    *,
    weights: Weights = "copy",
) -> None:
    """Save an ONNX GenAI folder as an MLflow model folder, with a manifest of its contents.

    Args:
        genai_model: The folder with genai_config.json, the graph with its weights, and the tokenizer.
        path: The folder to write. It may exist if it is empty or contains only `genai_model`.
        conda_env: A conda environment, or the path of its YAML file; mutually exclusive with pip requirements.
        code_paths: Packages and modules to include, which MLflow puts on the import path. None includes edgechat's own
            package, so that the model can be served where edgechat is not installed; an empty list includes nothing.
        mlflow_model: The `mlflow.models.Model` to add the flavor to; a new one if None.
        signature: An `mlflow.models.ModelSignature`; None is prompt or messages, with the chat API's parameters.
        input_example: As in MLflow's other flavors; requires the full MLflow package (`edgechat[mlflow]`).
        pip_requirements: Requirements instead of the defaults: lines, or the path of a requirements file.
        extra_pip_requirements: Requirements in addition to the defaults.
        metadata: What is known of the model: name, architecture, quantisation, licence, parameters, source,
            source_sha256, context_length. edgechat displays these.
        model_config: `context` and `threads` for loading, and default parameters for calls; all of them can be
            overridden in `mlflow.pyfunc.load_model(model_config=...)`.
        weights: "copy": two independent folders. "link": hard links where the file system supports them. "move": the
            files are moved out of `genai_model`.

    Raises:
        ModelError: `genai_model` is not an ONNX GenAI folder, or `path` is taken.
        StorageError: A file cannot be written; whatever this call created is removed again.
    """
    code: list[Path] | None = [Path(entry) for entry in code_paths or ()]
    if code_paths is None and carries_own_code():
        code = None
    model = mlflow_model if mlflow_model is not None else new_model(metadata or {})
    if signature is not None:
        model.signature = signature
    elif model.signature is None:
        model.signature = new_model({}).signature
    if metadata is not None:
        model.metadata = dict(metadata)
    write_model(
        Path(genai_model),
        Path(path),
        model=model,
        env=environment(conda_env, pip_requirements, extra_pip_requirements, with_code=code is None),
        code=code,
        input_example=input_example,
        config=model_config or {},
        weights=weights,
    )


def log_model(
    genai_model: str | os.PathLike[str],
    artifact_path: str | None = None,
    conda_env: Mapping[str, Any] | str | None = None,
    code_paths: Sequence[str | os.PathLike[str]] | None = None,
    registered_model_name: str | None = None,
    signature: Any = None,
    input_example: Any = None,
    await_registration_for: int = 300,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
    *,
    weights: Weights = "link",
) -> Any:
    """Log an ONNX GenAI folder as an MLflow model to the current tracking server, and optionally register it.

    Args:
        genai_model: See `save_model`.
        artifact_path: Deprecated name of `name`.
        conda_env: See `save_model`.
        code_paths: See `save_model`.
        registered_model_name: Register a version under this name.
        signature: See `save_model`.
        input_example: See `save_model`.
        await_registration_for: Seconds to wait for the version to be ready.
        pip_requirements: See `save_model`.
        extra_pip_requirements: See `save_model`.
        metadata: See `save_model`.
        model_config: See `save_model`.
        name: The model's name.
        params: Parameters of the logged model.
        tags: Tags of the logged model.
        model_type: The type MLflow's UI groups models by.
        step: The training step it belongs to.
        model_id: An existing logged model to fill.
        weights: How files get into the temporary folder that is uploaded.

    Returns:
        `mlflow.models.model.ModelInfo`; its `model_uri` can be passed to `mlflow.pyfunc.load_model`.

    Raises:
        ModelError: `genai_model` is not an ONNX GenAI folder, or no tracking server is set.
    """
    import mlflow
    from mlflow.models import Model

    if not mlflow.is_tracking_uri_set():
        raise ModelError(
            "No MLflow server named",
            "MLflow would make a store of its own in the working directory.",
            "Call mlflow.set_tracking_uri(...) before, or set MLFLOW_TRACKING_URI.",
        )
    return Model.log(
        artifact_path=artifact_path,
        flavor=_Flavor,
        registered_model_name=registered_model_name,
        await_registration_for=await_registration_for,
        metadata={"name": name or artifact_path or Path(genai_model).resolve().name, **(metadata or {})},
        name=name,
        params=params,
        tags=tags,
        model_type=model_type,
        step=step,
        model_id=model_id,
        genai_model=genai_model,
        conda_env=conda_env,
        code_paths=code_paths,
        signature=mlflow_signature() if signature is None else signature,
        input_example=input_example,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        model_config=model_config,
        weights=weights,
        # MLflow would load the model again to try the example, and let it answer at any length.
        validate_serving_input=False,
    )


class _Flavor:
    """Stands in for a flavor's module in `Model.log`."""

    @staticmethod
    def save_model(*, validate_serving_input: bool, **arguments: Any) -> None:
        """Save; the first argument is meant for `Model.log` only, which passes it on anyway."""
        save_model(**arguments)


def load_model(
    model_uri: str,
    dst_path: str | None = None,
    *,
    model_config: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> ChatModel:
    """Load a saved model in its native form.

    Args:
        model_uri: A folder, or any URI `mlflow.artifacts.download_artifacts` accepts: `models:/...`, `runs:/...`.
        dst_path: Where to download a model that is not a local folder; None is a temporary folder, deleted when the
            process exits.
        model_config: See `save_model`; overrides what was saved.
        trust: Accept a model whose configuration can load native code or reach outside the model.

    Returns:
        A model whose `predict` and `predict_stream` accept the same input as through MLflow, but reject unknown keys.

    Raises:
        ModelError: The folder does not contain a model of this flavor, is unsafe, or cannot be loaded.
    """
    folder = Path(model_uri)
    if not folder.is_dir():
        from mlflow.artifacts import download_artifacts

        if dst_path is None:  # MLflow would return the store's own folder, and write to it
            dst_path = tempfile.mkdtemp(prefix="edgechat-model-")
            atexit.register(shutil.rmtree, dst_path, ignore_errors=True)
        folder = Path(download_artifacts(artifact_uri=model_uri, dst_path=dst_path))
    from mlflow.models import Model

    from edgechat.models.mlmodel_file import read_mlmodel

    if not (folder / "MLmodel").is_file():
        raise ModelError("Not an MLflow model", Sentence("{folder} has no MLmodel.", folder=folder))
    read_mlmodel(folder.resolve())  # refuses files MLflow would never finish parsing, and paths outside the folder
    flavors = Model.load(str(folder)).flavors
    if FLAVOR not in flavors:
        raise ModelError(
            "Not a model of this flavor",
            Sentence(
                "{folder} has the flavors {flavors}, and not {flavor}.",
                folder=folder,
                flavors=", ".join(flavors),
                flavor=FLAVOR,
            ),
            "`edgechat package` makes one of it.",
        )
    saved = flavors["python_function"].get("config") or {}
    return _open(folder / flavors[FLAVOR]["data"], {**saved, **(model_config or {})}, trust=trust)


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PyfuncModel:
    """Load a saved model for `mlflow.pyfunc`, which calls this function via the loader module in MLmodel.

    Args:
        path: The ONNX GenAI folder inside the model folder.
        model_config: See `save_model`.

    Raises:
        MlflowException: The folder cannot be loaded, or a setting is invalid.
    """
    from edgechat.flavor.pyfunc import PyfuncModel, mlflow_errors
    from edgechat.flavor.spark import once_a_worker

    with mlflow_errors():
        return PyfuncModel(once_a_worker(_open, Path(path), model_config or {}))


def _open(folder: Path, config: Mapping[str, Any], *, trust: bool = False) -> ChatModel:
    from edgechat.engine.genai import GenaiModel
    from edgechat.flavor.scoring import ChatModel, read_config
    from edgechat.models.folder import open_model
    from edgechat.models.mlmodel_file import read_mlmodel

    load, defaults = read_config(config)
    # Checked as everywhere else, since MLflow passes on folders unchecked.
    try:
        model = open_model(folder.parent, trust=trust)
    except ModelError as error:
        if "--trust" not in error.hint:
            raise
        hint = "Only if you trust its maker: edgechat.flavor.load_model(FOLDER, trust=True)"
        raise ModelError(error.title, error.message, hint) from error
    card, _ = read_mlmodel(model.root)
    name = str(card.metadata.get("name") or model.root.name)
    return ChatModel(GenaiModel(model.genai, name=name, **load), defaults)
