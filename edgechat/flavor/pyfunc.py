"""What `mlflow.pyfunc` calls: the same model, with its errors in MLflow's words.

MLflow's scoring server answers an MlflowException with the HTTP status of its code, and anything else with a stack
trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edgechat.errors import EdgechatError, RequestError
from edgechat.flavor.scoring import ChatModel


@contextmanager
def told_by_mlflow() -> Iterator[None]:
    """Turn edgechat's errors into MLflow's: what is wrong with a request into a 400, everything else into a 500."""
    try:
        yield
    except EdgechatError as error:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

        code = INVALID_PARAMETER_VALUE if isinstance(error, RequestError) else INTERNAL_ERROR
        text = f"{error} {error.hint}".strip()
        raise MlflowException(text, error_code=code) from error


class PyfuncModel:
    """What `_load_pyfunc` returns; see `ChatModel` for what goes in and comes out."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> list[Any]:
        """Answer every row. Raises MlflowException."""
        with told_by_mlflow():
            return self._model.predict(data, params)

    def predict_stream(self, data: Any, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Answer one row as it is written. Raises MlflowException."""
        with told_by_mlflow():
            yield from self._model.predict_stream(data, params)
