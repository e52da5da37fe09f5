"""The custom Python wrapper from the Phi-3 cookbook: an `mlflow.pyfunc.PythonModel` around an ONNX GenAI folder.

It maps a prompt to text. MLflow pickles an empty instance of it; the model is a separate artifact, so edgechat opens
the logged folder without unpickling anything. New models are better saved with `edgechat.flavor`, which needs no pickle
and also supports the chat API.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from mlflow.pyfunc import PythonModel

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Request, Sampling
from edgechat.errors import ModelError, RequestError
from edgechat.flavor.pyfunc import mlflow_errors
from edgechat.i18n.sentence import Sentence
from edgechat.settings.schema import ContextTokens, Temperature

ARTIFACT = "phi3-mini-onnx"
"""The artifact with the ONNX GenAI folder, named as in the cookbook."""


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_length: ContextTokens = 300
    temperature: Temperature = 0.2


class Phi3Model(PythonModel):  # type: ignore[misc]  # mlflow carries no types
    """Answers prompts, each a string or a list of strings.

    A prompt that ends by opening the model's reply, as in the cookbook, is used as it is, including control tokens:
    `<|system|>You are kind.<|end|><|user|>Hello<|end|><|assistant|>`. Any other is formatted as a user message. For
    untrusted input use `edgechat.flavor`, where typed text never becomes a control token.

    Settings come from `model_config`: `max_length`, the tokens of prompt and answer together (300), and `temperature`
    (0.2; 0 is greedy).
    """

    def load_context(self, context: Any) -> None:
        """Load the model; called once by MLflow. Raises MlflowException."""
        from edgechat.engine.genai import GenaiModel

        with mlflow_errors():
            settings = _settings(context.model_config or {})
            folder = context.artifacts.get(ARTIFACT)
            if folder is None:
                raise ModelError(
                    "No model among the artifacts",
                    Sentence("There is none called {artifact}.", artifact=ARTIFACT),
                    f'Log it with artifacts={{"{ARTIFACT}": FOLDER}}.',
                )
            self._model = GenaiModel(Path(folder), context=settings.max_length)
            self._sampling = Sampling(temperature=settings.temperature)
            pieces = self._model.form.pieces([Message("user", "a")])
            control = max(place for place, piece in enumerate(pieces) if piece.kind == "control")
            self._opening = "".join(piece.text for piece in pieces[control:]).strip()
            self._busy = threading.Lock()  # servers call from several threads, but the model has one KV cache

    # MLflow interprets a type hint of the input as a schema, and there is none for this input.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Answer every prompt, in order.

        Args:
            context: MLflow's context; not used.
            model_input: A frame or dictionary with `prompt`, or the prompts themselves.
            params: Not used; settings come from the model.

        Returns:
            A text for each prompt.

        Raises:
            MlflowException: There is no prompt, or one is longer than max_length.
        """
        from edgechat.engine.detokenizer import collect
        from edgechat.flavor.requests import read_calls

        with mlflow_errors():
            calls = read_calls(model_input, {"temperature": self._sampling.temperature})
            if any(call.chat for call in calls):
                raise RequestError("This model takes prompts", "Messages were given.", 'Give {"prompt": "..."}.')
            with self._busy:
                return [collect(self._events(call.request))[0] for call in calls]

    def _events(self, request: Request) -> Any:
        in_form = request.messages[0].content.rstrip().endswith(self._opening)
        return self._model.complete(request) if in_form else self._model.generate(request)


def _settings(config: Mapping[str, Any]) -> _Settings:
    try:
        return msgspec.convert(dict(config), _Settings)
    except msgspec.ValidationError as error:
        known = ", ".join(_Settings.__struct_fields__)
        raise ModelError(
            "A setting in model_config is not usable", f"{error}.", Sentence("There are: {known}.", known=known)
        ) from error
