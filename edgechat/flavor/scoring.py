"""OpenAI-style predict over a loaded model: prompts to texts, or messages to chat answers.

Scoring has the process to itself, so the engine runs in it without a worker. Answers follow OpenAI's chat API, as in
MLflow's `llm/v1/chat`. pandas and mlflow must never be imported here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from edgechat.engine.protocol import Event, Finished, Request, TextDelta, Usage
from edgechat.errors import ModelError, RequestError
from edgechat.flavor.requests import Call, read_calls, read_parameters
from edgechat.i18n.sentence import Sentence
from edgechat.settings.schema import ContextTokens, Threads

if TYPE_CHECKING:
    from edgechat.engine.genai import GenaiModel


class _Load(msgspec.Struct, frozen=True, omit_defaults=True):
    context: ContextTokens | None = None
    threads: Threads | None = None


def read_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a model_config into load arguments and default call parameters.

    Raises:
        ModelError: A setting is invalid, which would otherwise only show on the first call.
    """
    load = {name: config[name] for name in _Load.__struct_fields__ if config.get(name) is not None}
    defaults = {name: value for name, value in config.items() if name not in _Load.__struct_fields__}
    try:
        msgspec.convert(load, _Load)
        read_parameters([defaults])
    except (msgspec.ValidationError, RequestError) as error:
        why = error.message if isinstance(error, RequestError) else f"{error}."
        raise ModelError("A setting in model_config is not usable", why) from error
    return load, defaults


class ChatModel:
    """A loaded model, as returned by `edgechat.flavor.load_model`.

    It is thread-safe: the model generates one reply or one batch at a time, and other callers wait.
    """

    def __init__(self, model: GenaiModel, defaults: Mapping[str, Any] | None = None) -> None:
        """Wrap an engine.

        Args:
            model: The loaded engine.
            defaults: Default parameters for calls; see `requests.Parameters`.
        """
        self._model = model
        self._defaults = defaults
        self._busy = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.info.name

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> list[Any]:
        """Answer every prompt and every conversation.

        Args:
            data: {"prompt": text or texts}, {"messages": [...]}, a list of these, or a frame with such columns. A row
                may also contain parameters, which override `params`.
            params: See `requests.Parameters`.

        Returns:
            In order, a text for each prompt, and for each conversation an answer in the chat API's format: `id`,
            `object`, `created`, `model`, `choices` (n of them) and `usage`. Always a list, even for a single row.

        Raises:
            RequestError: A row has no prompt, or one that cannot be answered.
            EngineError: The engine failed.
        """
        calls = read_calls(data, self._defaults, params)
        requests = [request for call in calls for request in call.requests()]
        with self._busy:
            replies = iter(self._model.generate_batch(requests))
        return [self._answer(call, [next(replies) for _ in range(call.n)]) for call in calls]

    def predict_stream(self, data: Any, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Answer a single prompt or conversation as a stream.

        Returns:
            Pieces of text for a prompt; for a conversation, chunks in the chat API's format, where the last one of each
            choice has its `finish_reason` and the final one the `usage`. With n > 1, choices follow one another.

        Raises:
            RequestError: There is not exactly one prompt, or see `predict`.
            EngineError: The engine failed, possibly during iteration.
        """
        calls = read_calls(data, self._defaults, params)
        if len(calls) != 1:
            raise RequestError("Only one prompt can be streamed", Sentence("{calls} were given.", calls=len(calls)))
        return self._chunks(calls[0]) if calls[0].chat else self._texts(calls[0])

    def _texts(self, call: Call) -> Iterator[str]:
        for event in self._events(call.request):
            if isinstance(event, TextDelta):
                yield event.text

    def _events(self, request: Request) -> Iterator[Event]:
        """Generate a reply in a thread at full speed, so that a slow consumer does not block the model."""
        events: SimpleQueue[Event | Exception] = SimpleQueue()
        left = threading.Event()

        def write() -> None:
            try:
                with self._busy:
                    for event in self._model.generate(request, left.is_set):
                        events.put(event)
            except Exception as error:
                events.put(error)

        writer = threading.Thread(target=write, name="reply", daemon=True)
        writer.start()
        try:
            while True:
                event = events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            left.set()
            writer.join()

    def _chunks(self, call: Call) -> Iterator[dict[str, Any]]:
        head = self._head("chat.completion.chunk")

        def chunk(index: int, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
            return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}

        usages: list[Usage] = []
        for index, request in enumerate(call.requests()):
            yield chunk(index, {"role": "assistant", "content": ""})
            for event in self._events(request):
                if isinstance(event, TextDelta):
                    yield chunk(index, {"content": event.text})
                elif isinstance(event, Finished):
                    usages.append(event.usage)
                    last = chunk(index, {}, event.reason)
                    yield {**last, "usage": _usage(usages)} if index == call.n - 1 else last

    def _answer(self, call: Call, replies: list[tuple[str, Finished]]) -> Any:
        if not call.chat:
            return replies[0][0]
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finished.reason,
            }
            for index, (text, finished) in enumerate(replies)
        ]
        usage = _usage([finished.usage for _, finished in replies])
        return {**self._head("chat.completion"), "choices": choices, "usage": usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": self.name}


def _usage(usages: list[Usage]) -> dict[str, Any]:
    """Return the token counts over all choices of an answer; their common prompt counts once, as in the chat API."""
    prompt, completion = usages[0].prompt, sum(usage.completion for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usages[0].cached},
    }
