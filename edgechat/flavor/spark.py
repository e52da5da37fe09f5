"""One load of a model in each Python worker of Spark, however many tasks it runs.

`mlflow.pyfunc.spark_udf` loads a model once for each worker of a cluster, but in local mode once for each task, that is
for each partition. The model of the last task is kept for the next, and no more than that one: they are large. Outside
Spark nothing is kept, for there a model belongs to whoever loaded it. pyspark must never be imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgechat.flavor.scoring import ChatModel

_kept: dict[tuple[str, str], ChatModel] = {}


def once_a_worker(
    load: Callable[[Path, Mapping[str, Any]], ChatModel], folder: Path, config: Mapping[str, Any]
) -> ChatModel:
    """Load a model, or take the one that an earlier task of this worker loaded from the same place in the same way.

    Args:
        load: Loads a folder with a model_config.
        folder: The ONNX GenAI folder; MLflow gives each `spark_udf` one of its own.
        config: The model_config.
    """
    if not _in_a_task():
        return load(folder, config)
    key = str(folder), json.dumps(dict(config), sort_keys=True, default=str)
    if key not in _kept:
        _kept.clear()  # before the next is loaded: both might not fit
        _kept[key] = load(folder, config)
    return _kept[key]


def _in_a_task() -> bool:
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.TaskContext.get() is not None
