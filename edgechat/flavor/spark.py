"""Loads a model once per Spark Python worker, however many tasks it runs.

`mlflow.pyfunc.spark_udf` loads a model once per worker on a cluster, but in local mode once per task, that is, per
partition. The last task's model is reused by the next, and only that one is cached because models are large. Outside
Spark nothing is cached: there, a model belongs to whoever loaded it. pyspark must never be imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgechat.flavor.scoring import ChatModel

_cache: dict[tuple[str, str], ChatModel] = {}


def once_a_worker(
    load: Callable[[Path, Mapping[str, Any]], ChatModel], folder: Path, config: Mapping[str, Any]
) -> ChatModel:
    """Load a model, or return the one an earlier task in this worker loaded from the same place with the same settings.

    Args:
        load: Loads a folder with a model_config.
        folder: The ONNX GenAI folder; MLflow provides a separate one for each `spark_udf`.
        config: The model_config.
    """
    if not _in_a_task():
        return load(folder, config)
    key = str(folder), json.dumps(dict(config), sort_keys=True, default=str)
    if key not in _cache:
        _cache.clear()  # before the next one is loaded, since both might not fit
        _cache[key] = load(folder, config)
    return _cache[key]


def _in_a_task() -> bool:
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.TaskContext.get() is not None
