"""Writes a model folder: MLmodel, environment, code, weights, manifest.

Only what mlflow-skinny provides may be used (no pandas, no mlflow.pyfunc), unless an example or MLflow's own
requirement files are given. Nothing here may infer requirements (MLflow would load the model to do so), write outside
the given folder, or send anything.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import requires as requirements_of
from pathlib import Path
from typing import Any, Literal

import edgechat
from edgechat import __version__
from edgechat.engine import fingerprint
from edgechat.engine.fingerprint_worker import take_fingerprint
from edgechat.engine.reference_fingerprints import reference_of
from edgechat.errors import EdgechatError, ModelError, StorageError
from edgechat.flavor.signature import PARAMETERS, chat_signature
from edgechat.i18n.sentence import Sentence
from edgechat.models.manifest import write_atomically, write_manifest
from edgechat.runtime.logs import log

FLAVOR = "onnxruntime_genai"
"""The flavor's name in MLmodel."""
DATA = "model"
"""The ONNX GenAI folder inside the MLflow model folder."""
CODE = "code"
"""Python packages inside the MLflow model folder, which MLflow puts on the import path when loading the model."""
OWN_CODE = f"{CODE}/edgechat-{__version__}.zip"
"""edgechat's own package there: a single file, since a hundred would each be a request to a server."""

Weights = Literal["move", "link", "copy"]

_PYTHON = ".".join(map(str, sys.version_info[:3]))
# As in edgechat's own metadata; serving and Spark need the full MLflow package.
_MLFLOW = "mlflow>=3.17,<3.18"
# The subset of edgechat's requirements that scoring imports; the rest is for the interface.
_SCORING = ("msgspec", "numpy", "onnxruntime-genai", "platformdirs", "psutil", "pyyaml", "tokenizers")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Environment:
    """What has to be installed to serve the model without edgechat.

    Attributes:
        requirements: pip requirements, one per line.
        constraints: pip constraints, one per line.
        conda: The conda environment; None to derive it from the requirements.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    conda: Mapping[str, Any] | None = None


def carries_own_code() -> bool:
    """Whether a model can include edgechat's own package; a packaged binary has no source code."""
    return not getattr(sys, "frozen", False) and Path(edgechat.__file__).is_file()


def environment(
    conda_env: Mapping[str, Any] | str | None,
    pip_requirements: Sequence[str] | str | None,
    extra_pip_requirements: Sequence[str] | str | None,
    *,
    with_code: bool,
) -> Environment:
    """Build the environment from MLflow's three arguments.

    Args:
        conda_env: A conda environment or the path of its YAML file.
        pip_requirements: Lines, or the path of a requirements file, instead of the defaults.
        extra_pip_requirements: The same, in addition to the defaults.
        with_code: Whether the model includes edgechat's own code, so that only its requirements are needed.

    Raises:
        ModelError: Both a conda environment and requirements are given.
    """
    if conda_env is not None:
        if pip_requirements or extra_pip_requirements:
            raise ModelError("Two environments given", "conda_env goes without pip requirements.", "Give one of them.")
        from mlflow.utils.environment import _process_conda_env

        conda, lines, constraints = _process_conda_env(conda_env)
        return Environment(tuple(lines), tuple(constraints or ()), conda)
    lines, constraints = scoring_requirements() if with_code else [f"edgechat=={__version__}", _MLFLOW], []
    if pip_requirements is not None or extra_pip_requirements is not None:
        from mlflow.utils.environment import _parse_pip_requirements

        if pip_requirements is not None:
            lines, constraints = _parse_pip_requirements(pip_requirements)
        more, further = _parse_pip_requirements(extra_pip_requirements)
        lines, constraints = [*lines, *more], [*constraints, *further]
    return Environment(tuple(lines), tuple(constraints))


def scoring_requirements() -> list[str]:
    """Return the requirements of a model that includes edgechat's code."""
    try:
        own = requirements_of("edgechat") or []
    except PackageNotFoundError:  # running from a folder that is not installed
        own = list(_SCORING)
    from packaging.requirements import Requirement

    read = [(line, Requirement(line)) for line in own]
    return [*(line for line, package in read if package.marker is None and package.name in _SCORING), _MLFLOW]


def write_model(
    genai_folder: Path,
    path: Path,
    *,
    model: Any,
    env: Environment,
    code: Sequence[Path] | None,
    input_example: Any,
    config: Mapping[str, Any],
    weights: Weights,
) -> None:
    """Write the folder, all or nothing.

    Args:
        genai_folder: The folder with genai_config.json, the graph with its weights, and the tokenizer.
        path: The folder to write. It may exist if it is empty or contains only `genai_folder`.
        model: The `mlflow.models.Model` to complete and save.
        env: The environment to serve it in.
        code: Python packages and modules to include; None for edgechat's own.
        input_example: An example as MLflow takes it, or None.
        config: Settings for loading and default parameters; see `load_model`.
        weights: "move": the files are moved out of `genai_folder`. "link": hard links, or copies where the file system
            does not support them. "copy": two independent folders.

    Raises:
        ModelError: `genai_folder` is not an ONNX GenAI folder, or `path` is taken.
        StorageError: A file cannot be written; whatever this call created is removed again.
    """
    if not (genai_folder / "genai_config.json").is_file():
        raise ModelError(
            "Not an ONNX GenAI folder", Sentence("{genai_folder} has no genai_config.json.", genai_folder=genai_folder)
        )
    existed = path.exists()
    if existed and (not path.is_dir() or any(child.resolve() != genai_folder.resolve() for child in path.iterdir())):
        raise ModelError(
            "Model cannot be saved",
            Sentence("{path} already exists.", path=path),
            "Choose a folder that does not exist yet.",
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write_environment(path, env)
        place = _write_code(code, path)
        if input_example is not None:
            from mlflow.models.utils import _save_example

            _save_example(model, input_example, str(path))
        model.model_size_bytes = _size(genai_folder)
        _add_flavors(model, config, place)
        model.save(path / "MLmodel")
        _transfer(genai_folder, path / DATA, weights)
        _write_fingerprint(path / DATA, model.metadata or {})
        write_manifest(path)
    except (OSError, StorageError) as error:
        _undo(path, genai_folder, existed=existed)
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            "Model cannot be saved",
            Sentence("{filename}: {strerror}.", filename=error.filename or path, strerror=error.strerror or error),
            "Free some space and try again." if error.errno in _FULL else "Choose a folder that can be written to.",
        ) from error
    except BaseException:
        _undo(path, genai_folder, existed=existed)
        raise


def mlflow_is_missing() -> ModelError:
    """Return the error of a packaged edgechat, which does not include MLflow."""
    return ModelError(
        "MLflow is missing",
        "This edgechat was put together without MLflow, and chats with what is on this device.",
        "Package, pull and push with an edgechat installed by pip, and copy the model here: edgechat models add FOLDER",
    )


def new_model(metadata: Mapping[str, Any]) -> Any:
    """Create an `mlflow.models.Model`.

    MLflow generates a new time and id; a reproducible build (SOURCE_DATE_EPOCH) needs constant ones.
    """
    try:
        from mlflow.models import Model
    except ImportError as error:
        raise mlflow_is_missing() from error
    identity: dict[str, str] = {}
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        created = datetime.fromtimestamp(int(epoch), UTC)
        seed_text = json.dumps([metadata, epoch], sort_keys=True)
        identity = {
            "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "model_uuid": hashlib.sha256(seed_text.encode()).hexdigest()[:32],
        }
    return Model(signature=chat_signature(), **identity)


def _add_flavors(model: Any, config: Mapping[str, Any], place: str) -> None:
    """Do what mlflow.pyfunc.add_to_model does, which cannot be imported without pandas."""
    code = {"code": place} if place else {}
    known = ("context", "threads", *(name for name in PARAMETERS if name not in ("n", "stream")))
    model.add_flavor(
        "python_function",
        loader_module="edgechat.flavor",
        data=DATA,
        streamable=True,
        python_version=_PYTHON,
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        # MLflow ignores settings at load time that are not listed here.
        config={**dict.fromkeys(known), **config},
        **code,
    )
    model.add_flavor(FLAVOR, data=DATA, edgechat_version=__version__, **code)


def _write_code(code: Sequence[Path] | None, path: Path) -> str:
    """Copy the code into the model; return the path to add to the import path, "" for none."""
    if code is None:
        _zip_own_code(path / OWN_CODE)
        return OWN_CODE
    for source in code:
        to = path / CODE / source.name
        if to.exists():
            raise ModelError(
                "Two packages of one name", Sentence("{name} is named twice in code_paths.", name=source.name)
            )
        if not source.exists():
            raise ModelError("Code not found", Sentence("{source_name} does not exist.", source_name=source))
        files = source.rglob("*") if source.is_dir() else [source]
        _copy((file for file in files if file.is_file() and "__pycache__" not in file.parts), source, to)
    return CODE if code else ""


def _zip_own_code(target: Path) -> None:
    """Put the package in an importable zip archive. The same code gives identical bytes."""
    target.parent.mkdir()
    package = Path(edgechat.__file__).parent
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(package.rglob("*.py")):
            entry = zipfile.ZipInfo(file.relative_to(package.parent).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def _write_fingerprint(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Add the model's fingerprint, so that every device can check its predictions.

    A model that cannot run here gets none, and keeps one that came with it.
    """
    if reference_of(metadata.get("source_sha256")) is not None:
        return  # its fingerprint ships with edgechat
    try:
        fingerprint_taken = take_fingerprint(folder, fingerprint.read(folder))
    except EdgechatError as error:
        log.info("no fingerprint: %s", error)
        return
    write_atomically(folder / fingerprint.FINGERPRINT, fingerprint.serialize(fingerprint_taken))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _transfer(source: Path, target: Path, weights: Weights) -> None:
    """Transfer the files of `source` to `target`; on failure `source` is still complete."""
    if source.resolve() == target.resolve():
        return
    files = [file for file in source.rglob("*") if file.is_file()]
    # A symbolic link may break when it is moved, so its target is copied instead.
    if weights == "move" and not source.is_symlink() and not any(file.is_symlink() for file in files):
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
    _copy(files, source, target, link=weights == "link")
    if weights == "move":
        shutil.rmtree(source)


def _copy(files: Iterable[Path], source: Path, target: Path, *, link: bool = False) -> None:
    for file in files:
        to = target / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        if not link or not _linked(file, to):
            shutil.copyfile(file, to)


def _undo(path: Path, genai_folder: Path, *, existed: bool) -> None:
    if not genai_folder.exists() and (path / DATA).exists():
        shutil.move(path / DATA, genai_folder)  # restore moved files before removing the rest
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


def _write_environment(path: Path, env: Environment) -> None:
    """Write the environment MLflow creates for serving the model separately; it is not needed in one's own Python."""
    import yaml

    lines = [*env.requirements, *(["-c constraints.txt"] if env.constraints else [])]
    files: dict[str, Any] = {
        "python_env.yaml": {
            "python": _PYTHON,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": ["-r requirements.txt"],
        },
        "conda.yaml": env.conda
        or {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={_PYTHON}", "pip", {"pip": lines}],
        },
    }
    for file, content in files.items():
        path.joinpath(file).write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    path.joinpath("requirements.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    if env.constraints:
        path.joinpath("constraints.txt").write_text("".join(f"{line}\n" for line in env.constraints), "utf-8")
