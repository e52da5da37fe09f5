"""The signature of a saved model: its inputs and outputs in MLflow's terms.

MLflow has no unions, so a prompt and a list of messages are both optional, and scoring rejects rows with neither. Names
follow OpenAI's chat API, as in MLflow's `llm/v1/chat`. `mlflow.models.ModelSignature` requires pandas, which the base
install lacks, so the signature is written through `SignatureCard`; MLflow reads it back as its own class. Nothing that
writes a folder may import pandas or mlflow.pyfunc.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from typing import Any

PARAMETERS = {
    "temperature": "double",
    "top_p": "double",
    "repetition_penalty": "double",
    "max_tokens": "long",
    "seed": "long",
    "n": "long",
    "stop": "string",
    "stream": "boolean",
}
"""Parameters of a call with their MLflow types; `stop` is a list. The engine has a default for each."""


@dataclass(frozen=True)
class SignatureCard:
    """A substitute for `mlflow.models.ModelSignature` that does not need pandas.

    Attributes:
        inputs, outputs, params: MLflow's schemas of a row, its answer and the parameters, as JSON.
    """

    inputs: str
    outputs: str
    params: str
    # mlflow.models.Model accesses these two on any signature.
    _is_signature_from_type_hint: bool = False
    _is_type_hint_from_example: bool = False

    def to_dict(self) -> dict[str, str]:
        """Return the form stored in MLmodel."""
        return {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}


def chat_signature() -> SignatureCard:
    """Map `prompt` (a string or a list of strings) to a string, or `messages` (role and content) to a chat answer.

    Parameters are declared twice, as columns of a row and as parameters of the call: MLflow drops anything the
    signature does not name, and the chat API has them next to the messages.
    """
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Object, Property, Schema

    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    columns = [
        ColSpec(AnyType(), "prompt", required=False),
        ColSpec(Array(message), "messages", required=False),
        # Any type: in a numeric column pandas turns a missing value into NaN and all others into floats, which MLflow
        # rejects for an integer column. Scoring validates each value itself.
        *(ColSpec(AnyType(), name, required=False) for name in PARAMETERS),
    ]
    # ParamSpec needs pandas to validate its default, so its JSON is written by hand.
    several: dict[str, Any] = {"default": [], "shape": [-1]}
    params = [
        {"name": name, "type": kind, **(several if name == "stop" else {"default": None, "shape": None})}
        for name, kind in PARAMETERS.items()
    ]
    return SignatureCard(Schema(columns).to_json(), Schema([ColSpec(AnyType())]).to_json(), json.dumps(params))


def mlflow_signature() -> Any:
    """Return the signature as an `mlflow.models.ModelSignature`, which requires pandas."""
    card = chat_signature()
    if importlib.util.find_spec("pandas") is None:
        return card
    from mlflow.models import ModelSignature

    return ModelSignature.from_dict(card.to_dict())
