"""The object MLflow calls: rows of prompts or messages in, texts out.

Rows come in many dresses: a dictionary, a list, a pandas frame, and values that are strings, lists or numpy arrays,
depending on which of MLflow's doors they came through. They are told apart by what they can do; pandas and mlflow must
never be imported here. Scoring has the process to itself, so the engine runs in it and no worker is started.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgechat.chat.conversation import Message
from edgechat.engine.base import Request, Sampling, TextDelta
from edgechat.errors import EngineError
from edgechat.flavor.signature import PARAMETERS

if TYPE_CHECKING:
    from edgechat.engine.genai import GenaiModel

_HINT = 'Give {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}.'


class PromptModel:
    """What `_load_pyfunc` returns."""

    def __init__(self, model: GenaiModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> list[str]:
        """Answer every prompt.

        Args:
            data: {"prompt": text or texts}, {"messages": [...]}, a list of such, or a frame with such columns. A row
                may also hold the parameters, which win over `params`.
            params: See `edgechat.flavor.signature.PARAMETERS`; None leaves the engine's default.

        Returns:
            One text a prompt, in order.

        Raises:
            EngineError: A row holds no prompt, or the engine refused or failed.
        """
        return ["".join(self._texts(request)) for request in requests(data, params)]

    def predict_stream(self, data: Any, params: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The same for one prompt, as pieces of text.

        Raises:
            EngineError: There is not exactly one prompt, or see `predict`.
        """
        asked = requests(data, params)
        if len(asked) != 1:
            raise EngineError("Only one prompt can be streamed", f"{len(asked)} were given.")
        yield from self._texts(asked[0])

    def _texts(self, request: Request) -> Iterator[str]:
        for event in self._model.generate(request):
            if isinstance(event, TextDelta):
                yield event.text


def requests(data: Any, params: Mapping[str, Any] | None = None) -> list[Request]:
    """The requests in what MLflow hands over; see `PromptModel.predict`."""
    out: list[Request] = []
    for row in _rows(data):
        sampling, max_tokens = _sampling({**_present(params or {}), **_present(row)})
        for messages in _conversations(row):
            out.append(Request(messages, sampling, max_tokens))
    return out


def _rows(data: Any) -> list[Mapping[str, Any]]:
    if isinstance(data, str):
        return [{"prompt": data}]
    if isinstance(data, Mapping):
        return [data]
    if hasattr(data, "to_dict"):  # a pandas frame
        data = data.to_dict(orient="records")
    rows = _plain(data)
    if not isinstance(rows, Sequence):
        raise EngineError("Input is not understood", f"It is a {type(data).__name__}.", _HINT)
    return [row if isinstance(row, Mapping) else {"prompt": row} for row in rows]


def _conversations(row: Mapping[str, Any]) -> Iterator[tuple[Message, ...]]:
    messages, prompt = _plain(row.get("messages")), _plain(row.get("prompt"))
    if not _missing(messages):
        # A dictionary of columns holds one conversation or a list of them.
        several = bool(messages) and not isinstance(messages[0], Mapping)
        for conversation in messages if several else [messages]:
            yield tuple(_message(message) for message in _plain(conversation))
    elif isinstance(prompt, str):
        yield (Message("user", prompt),)
    elif isinstance(prompt, Sequence) and prompt:
        for text in prompt:
            # One list inside another is what an input example of {"prompt": ["..."]} turns rows into.
            yield from _conversations({"prompt": text})
    else:
        raise EngineError("A row has no prompt", f"It has {', '.join(map(str, row)) or 'nothing'}.", _HINT)


def _message(value: Any) -> Message:
    role, content = (value.get("role"), value.get("content")) if isinstance(value, Mapping) else (None, None)
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise EngineError("A message is not understood", f"{value!r:.200}.", _HINT)
    return Message(role, content)


def _sampling(values: Mapping[str, Any]) -> tuple[Sampling, int | None]:
    try:
        chosen: dict[str, Any] = {
            name: (int if kind == "long" else float)(values[name])
            for name, kind in PARAMETERS.items()
            if name in values
        }
    except (TypeError, ValueError, OverflowError) as error:
        raise EngineError("A parameter is not a number", f"{error}.") from error
    max_tokens = chosen.pop("max_tokens", None)
    return Sampling(**chosen), max_tokens


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in PARAMETERS if name in values and not _missing(values[name])}


def _missing(value: Any) -> bool:
    """Whether a cell is empty: None, or the NaN that pandas puts where a row lacks a column."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """A numpy array or scalar as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value
