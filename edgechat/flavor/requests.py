"""Parses input from MLflow into calls: prompts and conversations, each with parameters.

Depending on the entry point, rows arrive as dictionaries, lists or pandas frames, with values that are strings, lists
or numpy arrays. They are distinguished by duck typing; pandas and mlflow must never be imported here. All rows are
parsed before the first is answered, so that a mistake in the last one costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Request, Sampling
from edgechat.errors import RequestError
from edgechat.i18n.sentence import Sentence
from edgechat.settings.schema import MaxTokens, RepetitionPenalty, Seed, Temperature, TopP

_HINT = 'Give {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}.'


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters of a call, named as in the chat API.

    Attributes:
        temperature, top_p, repetition_penalty, seed: See `engine.protocol.Sampling`.
        max_tokens: Maximum length of a reply; None means up to the end of the context.
        n: Number of replies per conversation.
        stop: Strings that end a reply.
        stream: Accepted for compatibility with the chat API; use `predict_stream` to stream.
    """

    temperature: Temperature = Sampling().temperature
    top_p: TopP = Sampling().top_p
    repetition_penalty: RepetitionPenalty = Sampling().repetition_penalty
    seed: Seed | None = None
    max_tokens: MaxTokens | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] = 1
    stop: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(max_length=16)] = ()
    stream: bool = False


_SCALARS = frozenset(Parameters.__struct_fields__) - {"stop"}


class _ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Call:
    """One prompt or one conversation.

    Attributes:
        chat: Whether to return a chat answer rather than plain text.
        request: The request to the engine.
        n: Number of replies.
    """

    chat: bool
    request: Request
    n: int = 1

    def requests(self) -> Iterator[Request]:
        """Yield one request per reply; with a seed the first is as if alone, and the others use different seeds."""
        seed = self.request.sampling.seed
        for number in range(self.n):
            if number == 0 or seed is None:
                yield self.request
            else:
                sampling = msgspec.structs.replace(self.request.sampling, seed=(seed + number) % 2**31)
                yield msgspec.structs.replace(self.request, sampling=sampling)


def read_calls(data: Any, *defaults: Mapping[str, Any] | None) -> list[Call]:
    """The calls in what MLflow hands over.

    Args:
        data: {"prompt": text or texts}, {"messages": [...]}, a list of such, or a frame with such columns. A row may
            hold parameters beside them.
        defaults: Parameters for rows that do not set them; later ones win.

    Raises:
        RequestError: A row holds no prompt, both forms, or something that is not usable; the words name the row.
    """
    rows = _rows(data)
    if not rows:
        raise RequestError("No prompt", "There is no row in the input.", _HINT)
    calls: list[Call] = []
    for number, row in enumerate(rows, 1):
        try:
            calls += _calls(row, defaults)
        except RequestError as error:
            if len(rows) == 1:
                raise
            raise RequestError(
                error.title, Sentence("Row {number}: {message}", number=number, message=error.message), error.hint
            ) from error
    return calls


def _rows(data: Any) -> list[Mapping[str, Any]]:
    if isinstance(data, str):
        return [{"prompt": data}]
    if isinstance(data, Mapping):
        return _split_columns(data)
    if hasattr(data, "to_frame"):  # a pandas series, of prompts
        data = data.to_frame("prompt")
    if hasattr(data, "to_dict"):  # a pandas frame
        data = data.to_dict(orient="records")
    rows = _plain(data)
    if not isinstance(rows, Sequence):
        raise RequestError("Input is not understood", Sentence("It is a {name}.", name=type(data).__name__), _HINT)
    return [part for row in rows for part in (_split_columns(row) if isinstance(row, Mapping) else [{"prompt": row}])]


def _split_columns(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Split a dictionary of columns into rows; it is recognised by a parameter with several values."""
    columns = {name: _plain(value) for name, value in row.items()}
    lengths = {len(value) for name, value in columns.items() if name in _SCALARS and isinstance(value, list)}
    if len(lengths) != 1:
        return [row]
    (length,) = lengths
    # Stop strings and messages are lists in a single row too; several rows have lists of lists.
    split = {
        name
        for name, value in columns.items()
        if isinstance(value, list)
        and len(value) == length
        and (name not in ("stop", "messages") or all(isinstance(_plain(item), list) for item in value))
    }
    return [
        {name: value[number] if name in split else value for name, value in columns.items()} for number in range(length)
    ]


def _calls(row: Mapping[str, Any], defaults: Sequence[Mapping[str, Any] | None]) -> Iterator[Call]:
    present = {str(key): _plain(value) for key, value in row.items() if not _missing(value)}
    prompt, messages = present.pop("prompt", None), present.pop("messages", None)
    if (prompt is None) == (messages is None):
        title, why = ("A row has no prompt", "no") if prompt is None else ("A row has two prompts", "both")
        raise RequestError(
            title,
            Sentence("It has {why} {value} messages.", why=why, value="prompt or" if prompt is None else "prompt and"),
            _HINT,
        )
    parameters = read_parameters([*(default or {} for default in defaults), present])
    chat = messages is not None
    if not chat and parameters.n > 1:
        raise RequestError(
            "n is for messages", Sentence("n is {n}, and a prompt has one answer.", n=parameters.n), "Leave n out."
        )
    for conversation in _conversations(messages) if chat else _prompts(prompt):
        request = Request(
            conversation,
            Sampling(parameters.temperature, parameters.top_p, parameters.repetition_penalty, parameters.seed),
            parameters.max_tokens,
            parameters.stop,
        )
        yield Call(chat, request, parameters.n)


def read_parameters(sources: Sequence[Mapping[str, Any]]) -> Parameters:
    """Merge parameters from several sources, later ones taking precedence. Raises RequestError."""
    values: dict[str, Any] = {}
    for source in sources:
        # Lists cannot be None in MLflow's signatures: an empty list of stop strings means none was given.
        plain = {name: _plain(value) for name, value in source.items() if not _missing(value)}
        values.update({name: _number(value) for name, value in plain.items() if value != []})
    if isinstance(values.get("stop"), str):
        values["stop"] = [values["stop"]]
    try:
        return msgspec.convert(values, Parameters)
    except msgspec.ValidationError as error:
        known = ", ".join(Parameters.__struct_fields__)
        raise RequestError(
            "A parameter is not usable", f"{error}.", Sentence("The parameters are: {known}.", known=known)
        ) from error


def _number(value: Any) -> Any:
    """Undo pandas' conversion of an integer to a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _prompts(prompt: Any) -> Iterator[tuple[Message, ...]]:
    if isinstance(prompt, str):
        if not prompt:
            raise RequestError("A prompt is empty", "There is nothing to answer.", _HINT)
        yield (Message("user", _text(prompt)),)
    elif isinstance(prompt, Sequence) and prompt:
        for text in prompt:
            # MLflow turns an input example's {"prompt": ["..."]} rows into nested lists.
            yield from _prompts(_plain(text))
    else:
        raise RequestError("A prompt is not text", Sentence("It is {prompt}.", prompt=f"{prompt!r:.200}"), _HINT)


def _conversations(messages: Any) -> Iterator[tuple[Message, ...]]:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise RequestError("No messages", Sentence("messages is {messages}.", messages=f"{messages!r:.200}"), _HINT)
    # A dictionary of columns contains one conversation or a list of them.
    several = not isinstance(messages[0], Mapping)
    for conversation in messages if several else [messages]:
        yield _conversation(_plain(conversation))


def _conversation(messages: Any) -> tuple[Message, ...]:
    try:
        read = msgspec.convert(messages, tuple[_ChatMessage, ...])
    except msgspec.ValidationError as error:
        raise RequestError("A message is not understood", f"{error}.", _HINT) from error
    if not read or read[-1].role != "user":
        raise RequestError("No message to answer", "The last message is to be the user's.", _HINT)
    if not read[-1].content:
        raise RequestError("A message is empty", "The last message has no content.", _HINT)
    return tuple(Message(message.role, _text(message.content)) for message in read)


def _text(text: str) -> str:
    """Return the text. Raises RequestError if it is invalid, such as a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError("A prompt is not text", f"{error}.", "Send UTF-8.") from error
    return text


def _missing(value: Any) -> bool:
    """Whether a cell is empty: None, or NaN, which pandas uses for missing values."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Convert a numpy array or scalar to a Python value."""
    return value.tolist() if hasattr(value, "tolist") else value
