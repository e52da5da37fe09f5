"""The MLflow side: writing model folders that MLflow opens, and being opened by MLflow.

MLflow is imported inside the functions that need it, for it takes seconds; the chat path never comes here. Only what
mlflow-skinny alone offers may be used for saving: no pandas, no mlflow.pyfunc. Nothing here may guess requirements
(MLflow would load the model to do so), write outside the folder it was given, or send anything.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgechat import __version__
from edgechat.errors import ModelError, StorageError
from edgechat.flavor.signature import chat_signature
from edgechat.offline import OPT_OUTS

if TYPE_CHECKING:
    from edgechat.flavor.scoring import PromptModel

FLAVOR = "onnxruntime_genai"
"""The flavor's name in MLmodel."""
DATA = "model"
"""The ONNX GenAI folder inside the MLflow model folder."""

Weights = Literal["move", "link", "copy"]

_PYTHON = ".".join(map(str, sys.version_info[:3]))
# As in edgechat's own metadata; serving and Spark need the whole of MLflow.
_MLFLOW = "mlflow>=3.17,<3.18"


def save_model(
    path: Path,
    genai_folder: Path,
    *,
    name: str,
    metadata: Mapping[str, str | int | float],
    weights: Weights = "copy",
    requirements: Sequence[str] | None = None,
) -> None:
    """Write an MLflow model folder around an ONNX GenAI folder.

    Args:
        path: The folder to write. It may exist, if nothing is in it or nothing but `genai_folder`.
        genai_folder: Holds genai_config.json, the graph with its weights, and the tokenizer.
        name: What to call the model.
        metadata: What is known of it: architecture, quantisation, licence, parameters, source, source_sha256,
            context_length.
        weights: "move": the files leave `genai_folder`. "link": both folders share them; where the file system cannot
            do that they are copied. "copy": two independent folders.
        requirements: pip requirements of the environment the model is served in; edgechat and MLflow by default.

    Raises:
        ModelError: `genai_folder` is no ONNX GenAI folder, or `path` is taken.
        StorageError: A file cannot be written; what this call made is removed again.
    """
    if not (genai_folder / "genai_config.json").is_file():
        raise ModelError("Not an ONNX GenAI folder", f"{genai_folder} has no genai_config.json.")
    existed = path.exists()
    if existed and (not path.is_dir() or any(child.resolve() != genai_folder.resolve() for child in path.iterdir())):
        raise ModelError("Model cannot be saved", f"{path} already exists.", "Choose a folder that does not exist yet.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write_environment(path, requirements)
        _write_mlmodel(path, name=name, metadata=metadata, size=_size(genai_folder))
        # The weights come last: nothing can fail any more after they have left the folder they were in.
        _take(genai_folder, path / DATA, weights)
    except OSError as error:
        _undo(path, genai_folder, existed=existed)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StorageError(
            "Model cannot be saved",
            f"{error.filename or path}: {error.strerror or error}.",
            "Free some space and try again." if full else "Choose a folder that can be written to.",
        ) from error


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PromptModel:
    """Load a saved model for `mlflow.pyfunc`, which calls this by the name MLmodel gives it.

    Args:
        path: The ONNX GenAI folder inside the model folder.
        model_config: `context` and `threads`, both numbers; None lets the machine decide.

    Raises:
        ModelError: The folder cannot be loaded.
    """
    # Before the engine's library is loaded: afterwards it is too late.
    os.environ["ORT_DISABLE_TELEMETRY"] = OPT_OUTS["ORT_DISABLE_TELEMETRY"]
    from edgechat.engine.genai import GenaiModel
    from edgechat.flavor.scoring import PromptModel

    config = model_config or {}
    folder = Path(path)
    return PromptModel(
        GenaiModel(folder, name=folder.parent.name, context=config.get("context"), threads=config.get("threads"))
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _take(source: Path, target: Path, weights: Weights) -> None:
    """Bring the files of `source` to `target`; where that fails, `source` is still whole."""
    if source.resolve() == target.resolve():
        return
    files = [file for file in source.rglob("*") if file.is_file()]
    # A link that is moved may point nowhere afterwards: what it points to is copied instead.
    if weights == "move" and not source.is_symlink() and not any(file.is_symlink() for file in files):
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
    for file in files:
        to = target / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        if weights != "link" or not _linked(file, to):
            shutil.copyfile(file, to)
    if weights == "move":
        shutil.rmtree(source)


def _undo(path: Path, genai_folder: Path, *, existed: bool) -> None:
    if not existed:
        shutil.rmtree(path, ignore_errors=True)
        return
    for child in list(path.iterdir()):
        if child.resolve() == genai_folder.resolve():
            continue
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        else:
            child.unlink(missing_ok=True)


def _linked(file: Path, to: Path) -> bool:
    try:
        os.link(file.resolve(), to)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _write_mlmodel(path: Path, *, name: str, metadata: Mapping[str, str | int | float], size: int) -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = OPT_OUTS["MLFLOW_DISABLE_TELEMETRY"]
    from mlflow.models import Model

    model = Model(
        signature=chat_signature(),
        metadata={"name": name, **metadata},
        model_size_bytes=size,
        **_identity(name, metadata),
    )
    # The words of mlflow.pyfunc.add_to_model, which cannot be imported without pandas.
    model.add_flavor(
        "python_function",
        loader_module="edgechat.flavor",
        data=DATA,
        streamable=True,
        python_version=_PYTHON,
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        # MLflow drops settings at load that are not named here.
        config={"context": None, "threads": None},
    )
    model.add_flavor(FLAVOR, data=DATA, edgechat_version=__version__)
    model.save(path / "MLmodel")


def _identity(name: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """The model's time and id. MLflow draws them anew, but a reproducible build (SOURCE_DATE_EPOCH) wants the same."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch.isdecimal():
        return {}
    created = datetime.fromtimestamp(int(epoch), UTC)
    told = json.dumps([name, metadata, epoch], sort_keys=True)
    return {
        "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "model_uuid": hashlib.sha256(told.encode()).hexdigest()[:32],
    }


def _write_environment(path: Path, requirements: Sequence[str] | None) -> None:
    """The environment MLflow makes where it serves the model apart; a model of one's own Python needs none of it."""
    import yaml

    lines = list(requirements or (f"edgechat=={__version__}", _MLFLOW))
    files: dict[str, dict[str, Any]] = {
        "python_env.yaml": {
            "python": _PYTHON,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": ["-r requirements.txt"],
        },
        "conda.yaml": {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={_PYTHON}", "pip", {"pip": lines}],
        },
    }
    for file, content in files.items():
        path.joinpath(file).write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    path.joinpath("requirements.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
