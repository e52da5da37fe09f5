"""What a saved model says it takes and returns, in MLflow's words.

MLflow has no unions: a prompt and a list of messages are therefore both optional, and scoring refuses a row that has
neither. The names are those of OpenAI's chat API, as in MLflow's `llm/v1/chat`. `mlflow.models.ModelSignature` needs
pandas, which the base install does not have, so the signature is written through `SignatureCard`; MLflow reads it back
as its own class. Nothing that writes a folder may import pandas or mlflow.pyfunc.
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
"""What may be set for a call, by name, with MLflow's type; `stop` is a list. The engine has a default for each."""


@dataclass(frozen=True)
class SignatureCard:
    """A stand-in for `mlflow.models.ModelSignature` that needs no pandas.

    Attributes:
        inputs, outputs, params: MLflow's schemas of a row, of its answer and of the parameters, as JSON.
    """

    inputs: str
    outputs: str
    params: str
    # mlflow.models.Model looks at these two of any signature.
    _is_signature_from_type_hint: bool = False
    _is_type_hint_from_example: bool = False

    def to_dict(self) -> dict[str, str]:
        """The form MLmodel holds."""
        return {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}


def chat_signature() -> SignatureCard:
    """`prompt` (a string or a list of strings) to a string, or `messages` (role and content) to a chat answer.

    The parameters are told twice, as columns of a row and as parameters of the call: MLflow drops what a signature does
    not name, and the chat API has them beside the messages.
    """
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Object, Property, Schema

    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    columns = [
        ColSpec(AnyType(), "prompt", required=False),
        ColSpec(Array(message), "messages", required=False),
        # Any type: in a column of numbers pandas turns a missing one into NaN and all others into fractions, which
        # MLflow refuses for a column of whole numbers. Scoring checks each value by its own rules.
        *(ColSpec(AnyType(), name, required=False) for name in PARAMETERS),
    ]
    # ParamSpec checks its default with the help of pandas, so its JSON is written by hand.
    several: dict[str, Any] = {"default": [], "shape": [-1]}
    params = [
        {"name": name, "type": kind, **(several if name == "stop" else {"default": None, "shape": None})}
        for name, kind in PARAMETERS.items()
    ]
    return SignatureCard(Schema(columns).to_json(), Schema([ColSpec(AnyType())]).to_json(), json.dumps(params))


def mlflow_signature() -> Any:
    """The same as an `mlflow.models.ModelSignature`, where pandas is installed, which that needs."""
    card = chat_signature()
    if importlib.util.find_spec("pandas") is None:
        return card
    from mlflow.models import ModelSignature

    return ModelSignature.from_dict(card.to_dict())
