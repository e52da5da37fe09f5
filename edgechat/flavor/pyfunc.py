"""The model as `mlflow.pyfunc` calls it, with errors as MLflow exceptions.

MLflow's scoring server answers an MlflowException with the HTTP status for its code, and any other exception with a
stack trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edgechat.errors import EdgechatError, RequestError
from edgechat.flavor.scoring import ChatModel


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn edgechat's errors into MLflow's: invalid requests become 400, everything else 500."""
    try:
        yield
    except EdgechatError as error:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

        code = INVALID_PARAMETER_VALUE if isinstance(error, RequestError) else INTERNAL_ERROR
        text = f"{error} {error.hint}".strip()
        raise MlflowException(text, error_code=code) from error


class PyfuncModel:
    """The result of `_load_pyfunc`; see `ChatModel` for input and output."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> list[Any]:
        """Answer every row. Raises MlflowException."""
        with mlflow_errors():
            return self._model.predict(data, params)

    def predict_stream(self, data: Any, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Answer one row as a stream. Raises MlflowException."""
        with mlflow_errors():
            yield from self._model.predict_stream(data, params)
