"""Reads the file `MLmodel` with a YAML parser alone.

What a stranger wrote is parsed as plain data: no tag makes an object, nothing is expanded without bound, and no path in
it is believed before it was resolved inside the model. mlflow itself is never imported here, for it is slow to load and
its way of opening a model runs the model's code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgechat.errors import ModelError
from edgechat.models.safe_walk import named
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.regular_files import TooLargeError, read_regular

MLMODEL = "MLmodel"

_REGISTERED = "registered_model_meta"
"""Written by MLflow's client when it downloads a registered model."""

_LARGEST = 256 * 1024
"""A real one has a few kilobytes; the parser needs some seconds for each megabyte."""

_MOST_VALUES = 20_000
"""Values after expanding YAML aliases, which can grow a short file without end."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A model that MLflow's transformers flavor saved.

    Attributes:
        folder: The one with its weights; None where they were not saved with it.
        source: Where they came from, in the author's words: a name on a hub, or a path on the author's machine.
        adapter: Whether it is an adapter to another model.
    """

    folder: Path | None
    source: str
    adapter: bool


@dataclass(frozen=True, slots=True)
class MLflowCard:
    """What MLmodel says of a model. Strings are as written there: pass them through `words.shown` before a terminal.

    Attributes:
        flavors: Names of the flavors, in the order of the file.
        inputs, outputs: The signature's two sides, JSON in a string; "" where there is none.
        run_id: The run that logged it; "" for a model that was saved without one.
        model_uuid: MLflow's id of the save.
        mlflow_version: Version of MLflow that saved it.
        utc_time_created: When, as MLflow writes it.
        registered_name, registered_version: What the registry called it, when it was downloaded from one.
        metadata: The author's own keys.
        pipeline: What the transformers flavor says; None where the model has none.
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
        The card, and the paths below the root that may hold the ONNX GenAI folder, likeliest first.

    Raises:
        ModelError: The file is damaged, too large or no plain YAML, or names a path outside the folder.
    """
    data = _load(named(root, MLMODEL, root, "The folder"))
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
    candidates = (named(root, text, root, f"{MLMODEL}, {where},") for where, text in _paths(flavors))
    return card, tuple(dict.fromkeys(candidates))


def _paths(flavors: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where MLmodel says that data lies: the place in the file, and the path.

    `uri`, `artifact_path`, `model_code_path` and the like are paths on the author's machine: not looked at.
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
        folder=named(root, binary, root, f"{MLMODEL}, flavors.transformers.model_binary,")
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
        return {}  # a side note of the download; the model is as good without it


def _load(path: Path) -> dict[str, Any]:
    # Costs about 30 ms: not paid by a start that opens a bare ONNX GenAI folder.
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """The safe loader without merge keys, the other way for a short file to become a large value."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Leave `<<` as it is, which then is refused as no plain value."""

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
    """Values in the data with aliases expanded, counted up to the limit."""
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
    return ModelError("Model folder is damaged", f"{path}: {why}", "Copy the whole folder again from where it came.")
