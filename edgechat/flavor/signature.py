"""What a saved model says it takes and returns, in MLflow's words.

MLflow has no unions: a prompt and a list of messages are therefore both optional, and scoring refuses a row that has
neither. `mlflow.models.ModelSignature` needs pandas, which the base install does not have, so the signature is written
through `SignatureCard`; MLflow reads it back as its own class. This module must never import pandas or mlflow.pyfunc.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

PARAMETERS = {
    "temperature": "double",
    "top_p": "double",
    "repetition_penalty": "double",
    "max_tokens": "long",
    "seed": "long",
}
"""What may be set for a call, by name, with MLflow's type. All default to the engine's own defaults."""


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
    """`prompt` (a string or a list of strings) or `messages` (role and content) to a string."""
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Object, Property, Schema

    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    inputs = Schema([ColSpec(AnyType(), "prompt", required=False), ColSpec(Array(message), "messages", required=False)])
    # ParamSpec checks its default with the help of pandas, so its JSON is written by hand.
    params = [{"name": name, "type": kind, "default": None, "shape": None} for name, kind in PARAMETERS.items()]
    return SignatureCard(inputs.to_json(), Schema([ColSpec(DataType.string)]).to_json(), json.dumps(params))
