"""Reads the file `MLmodel` with just a YAML parser.

Untrusted content is parsed as plain data: tags create no objects, expansion is limited, and paths are resolved and
required to be inside the model. mlflow is never imported here, because it is slow to load and its way of opening a
model runs the model's code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.safe_walk import resolve_inside
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.regular_files import TooLargeError, read_regular

MLMODEL = "MLmodel"

_REGISTERED = "registered_model_meta"
"""Written by MLflow's client when it downloads a registered model."""

_LARGEST = 256 * 1024
"""Real ones have a few kilobytes; the parser needs several seconds per megabyte."""

_MOST_VALUES = 20_000
"""Maximum number of values after expanding YAML aliases, which could grow a short file without limit."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A model saved by MLflow's transformers flavor.

    Attributes:
        folder: The folder with its weights; None if they were not saved with it.
        source: Where they came from according to the author: a name on a hub, or a path on the author's machine.
        adapter: Whether it is an adapter for another model.
    """

    folder: Path | None
    source: str
    adapter: bool


@dataclass(frozen=True, slots=True)
class MLflowCard:
    """The contents of MLmodel. Strings are unmodified: use `sanitize.shown` before printing them.

    Attributes:
        flavors: Names of the flavors, in file order.
        inputs, outputs: The two sides of the signature as JSON strings; "" if there is none.
        run_id: The run that logged it; "" for a model saved outside a run.
        model_uuid: MLflow's id of the save.
        mlflow_version: Version of MLflow that saved it.
        utc_time_created: Creation time in MLflow's format.
        registered_name, registered_version: Its name and version in the registry, if it was downloaded from one.
        metadata: The author's own keys.
        pipeline: The transformers flavor's data; None if the model has no such flavor.
    """

    flavors: tuple[str, ...]
    inputs: str = ""
    outputs: str = ""
    run_id: str = ""
    model_uuid: str = ""
    mlflow_version: str = ""
    utc_time_created: str = ""
    registered_name: str = ""
    registered_version: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    pipeline: Pipeline | None = None


def read_mlmodel(root: Path) -> tuple[MLflowCard, tuple[Path, ...]]:
    """Read `MLmodel` of a model folder.

    Args:
        root: The model folder, resolved.

    Returns:
        The card, and the paths below the root that may contain the ONNX GenAI folder, likeliest first.

    Raises:
        ModelError: The file is damaged, too large or not plain YAML, or names a path outside the folder.
    """
    data = _load(resolve_inside(root, MLMODEL, root, "The folder"))
    flavors = data.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise _damaged(root / MLMODEL, "it names no flavors.")
    signature = data.get("signature")
    sides = signature if isinstance(signature, dict) else {}
    metadata = data.get("metadata")
    registered = _registered(root)
    card = MLflowCard(
        flavors=tuple(str(name) for name in flavors),
        inputs=_text(sides.get("inputs")),
        outputs=_text(sides.get("outputs")),
        run_id=_text(data.get("run_id")),
        model_uuid=_text(data.get("model_uuid")),
        mlflow_version=_text(data.get("mlflow_version")),
        utc_time_created=_text(data.get("utc_time_created")),
        registered_name=_text(registered.get("model_name")),
        registered_version=_text(registered.get("model_version")),
        metadata=metadata if isinstance(metadata, dict) else {},
        pipeline=_pipeline(root, flavors.get("transformers")),
    )
    candidates = (resolve_inside(root, text, root, f"{MLMODEL}, {where},") for where, text in _paths(flavors))
    return card, tuple(dict.fromkeys(candidates))


def _paths(flavors: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the data paths in MLmodel: the location in the file, and the path.

    `uri`, `artifact_path`, `model_code_path` and the like are paths on the author's machine and are ignored.
    """
    for name, flavor in flavors.items():
        if not isinstance(flavor, dict):
            continue
        if isinstance(flavor.get("data"), str):
            yield f"flavors.{shown(name)}.data", flavor["data"]
        artifacts = flavor.get("artifacts")
        for key, artifact in artifacts.items() if isinstance(artifacts, dict) else ():
            if isinstance(artifact, dict) and isinstance(artifact.get("path"), str):
                yield f"flavors.{shown(name)}.artifacts.{shown(key)}.path", artifact["path"]


def _pipeline(root: Path, flavor: object) -> Pipeline | None:
    if not isinstance(flavor, dict):
        return None
    binary = flavor.get("model_binary")
    return Pipeline(
        folder=resolve_inside(root, binary, root, f"{MLMODEL}, flavors.transformers.model_binary,")
        if isinstance(binary, str)
        else None,
        source=_text(flavor.get("source_model_name")),
        adapter="peft_adaptor" in flavor,
    )


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _registered(root: Path) -> dict[str, Any]:
    path = root / _REGISTERED
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        return _load(path)
    except ModelError:
        return {}  # just a record of the download; the model is fine without it


def _load(path: Path) -> dict[str, Any]:
    # Takes about 30 ms, which opening a bare ONNX GenAI folder need not pay.
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """The safe loader without merge keys, the other way to make a short file expand to a large value."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Keep `<<` as an ordinary key, which is then rejected as not plain."""

    try:
        data = yaml.load(read_regular(path, _LARGEST).decode("utf-8"), PlainLoader)  # noqa: S506 - a SafeLoader, see above
        left = _MOST_VALUES - _count(data, _MOST_VALUES)
    except TooLargeError as error:
        raise _damaged(path, f"it is {size_text(error.size)} large, which no real one is.") from error
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise _damaged(path, "it is not UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _damaged(path, f"it is not plain YAML: {shown(error.problem or '')}{line}.") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        raise _damaged(path, f"it is not plain YAML: {shown(error)}.") from error
    except RecursionError as error:
        raise _damaged(path, "it is nested deeper than any real one.") from error
    if left <= 0:
        raise _damaged(path, "it holds more values than any real one.")
    if not isinstance(data, dict):
        raise _damaged(path, "it is not a YAML mapping.")
    return data


def _count(value: object, limit: int) -> int:
    """Count the values in the data with aliases expanded, up to the limit."""
    if limit <= 0:
        return 0
    count = 1
    children: Iterator[object] = iter(())
    if isinstance(value, dict):
        children = iter(value.values())
    elif isinstance(value, list | tuple | set):
        children = iter(value)
    for child in children:
        if count >= limit:
            break
        count += _count(child, limit - count)
    return count


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        "Model folder is damaged",
        Sentence("{path}: {why}", path=path, why=why),
        "Copy the whole folder again from where it came.",
    )
