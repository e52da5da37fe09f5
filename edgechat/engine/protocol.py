"""What an engine is: it takes a request and yields events.

These values cross a process boundary as JSON lines (`engine.worker.protocol`), so they are msgspec structs: frozen,
validated when decoded, and distinguished by a tag. Nothing here depends on how a model is run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Literal, Protocol

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.fingerprint import Fingerprint
from edgechat.errors import EngineError, RequestError
from edgechat.i18n.sentence import Sentence


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen.

    Attributes:
        temperature: 0 (greedy) to 2.
        top_p: Sample from the smallest set of tokens whose probabilities add up to this, 0 to 1.
        repetition_penalty: 1 means none.
        seed: Makes sampling repeatable; None picks one at random.
        top_k: Sample from this many of the likeliest tokens.
    """

    temperature: float = 0.3
    top_p: float = 0.9
    repetition_penalty: float = 1.05
    seed: int | None = None
    top_k: int = 50


class Request(msgspec.Struct, frozen=True):
    """A request for one reply.

    Attributes:
        messages: The conversation, ending with the user message to answer or with an assistant message to continue. In
            the latter case only the new text is yielded.
        sampling: How to choose tokens.
        max_tokens: Maximum length of the reply; None means up to the end of the context.
        stop: Non-empty strings that end the reply; the reply stops before the first one.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def continued_text(self) -> str:
        """The text of the reply to continue; empty if a new reply is requested."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else ""


class PromptPart(msgspec.Struct, frozen=True):
    """A part of a prompt as it is sent.

    Attributes:
        kind: "control": one control token. "text": what a person wrote and the format's markup around it. "reply": what
            a model wrote.
        text: The characters.
        ids: Their token ids; for a reply, those it was generated with while they are remembered.
    """

    kind: Literal["control", "text", "reply"]
    text: str
    ids: tuple[int, ...]


class Prompt(msgspec.Struct, frozen=True, tag="prompt"):
    """A prompt exactly as it is sent.

    Attributes:
        parts: In order; concatenating their ids gives the prompt.
        cached: How many of the leading ids are already computed.
    """

    parts: tuple[PromptPart, ...]
    cached: int

    @property
    def tokens(self) -> int:
        """Number of ids."""
        return sum(len(part.ids) for part in self.parts)


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """The next characters of the reply: never empty, never a partial character."""

    text: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Progress of a long operation.

    Attributes:
        phase: "install": preparing a model for first use, in percent. "check": comparing its files with the manifest,
            in bytes. "load": reading it into memory; `total` is 0 because the duration is unknown. "prefill": prompt
            tokens computed. "summarise": summarising messages that are no longer sent; `total` is 0.
        done, total: Amounts in the unit of the phase.
        note: What is being done now, in a few words; may be empty.
    """

    phase: Literal["install", "check", "load", "prefill", "summarise"]
    done: int
    total: int
    note: str = ""


ProgressCallback = Callable[[Progress], None]
"""Receives the progress of a long operation."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one reply.

    Attributes:
        prompt: Tokens in the whole prompt.
        cached: How many of those were already computed.
        completion: Tokens generated, without the end token.
        context: Tokens of the context now in use: `prompt` + `completion`.
    """

    prompt: int
    cached: int
    completion: int

    @property
    def context(self) -> int:
        """Tokens of the context in use after the reply."""
        return self.prompt + self.completion


class Timings(msgspec.Struct, frozen=True):
    """Durations for one reply in seconds, measured in the worker.

    Attributes:
        prefill: From receiving the request to the end of prompt processing.
        ttft: Time to first text, from receiving the request.
        decode: From the first generated token to the last.
    """

    prefill: float
    ttft: float
    decode: float


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The end of a reply; always the last event of a stream that did not raise.

    Attributes:
        reason: "stop": the model or a stop string ended it. "length": max_tokens or the context was reached.
            "cancelled": it was stopped; the text yielded so far is valid.
    """

    reason: Literal["stop", "length", "cancelled"]
    usage: Usage
    timings: Timings

    @property
    def tokens_per_second(self) -> float:
        """Decode speed; 0 if fewer than two tokens were generated."""
        return (self.usage.completion - 1) / self.timings.decode if self.timings.decode > 0 else 0.0


Event = TextDelta | Progress | Finished

Kind = Literal["genai", "transformers"]
"""The library that runs a model: onnxruntime-genai, or transformers with torch (an optional extra)."""


def too_long(tokens: str, context: int) -> RequestError:
    """Return the error for a prompt too long for the context; `tokens` is its length as displayed."""
    return RequestError(
        "The conversation is longer than the context",
        Sentence(
            "It has {tokens} tokens; the context holds {context}, the reply included.",
            tokens=tokens,
            context=f"{context:,}",
        ),
        "Start a new chat, shorten the message, or raise the context in the settings.",
    )


class StoppedError(EngineError):
    """The operation was stopped by the user, and its worker process was ended."""


class ModelInfo(msgspec.Struct, frozen=True, tag="ready"):
    """What the engine reports about a loaded model.

    Attributes:
        name: The model folder's name.
        architecture: Its type as given in genai_config.json or config.json, such as "phi3" or "llama".
        form: Name of the prompt format in use.
        context: Effective context window of this session in tokens.
        model_context: Context window the model was trained for, in tokens.
        context_reason: Why `context` is less than `model_context`: "memory", "setting", "model" or "".
        threads: Number of compute threads.
        load_seconds: How long loading took.
        longrope_limit: Token count beyond which a LongRoPE model recomputes the whole prompt in one call; 0 if that
            cannot happen within `context`.
        cached_chats: How many chats can have a KV cache at a time.
        confinement: The operating system features that sandbox the worker, for display; empty if there are none.
    """

    name: str
    architecture: str = ""
    form: str = ""
    context: int = 0
    model_context: int = 0
    context_reason: str = ""
    threads: int = 0
    load_seconds: float = 0.0
    longrope_limit: int = 0
    cached_chats: int = 1
    confinement: str = ""


class LoadedModel(Protocol):
    """A model loaded in this process, which blocks while computing; the worker turns it into an `Engine`."""

    @property
    def info(self) -> ModelInfo:
        """The model's properties and limits."""

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the prompt for the next reply."""

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return the prompt with its parts and cached token count."""

    def prefill(
        self, messages: Sequence[Message], stopped: Callable[[], bool] = ..., top_k: int | None = None
    ) -> Iterator[int]:
        """Compute the start of the next prompt, or all of it, ahead of time; see `Engine.prefill`.

        Args:
            messages: The conversation, ending with the draft of the next message.
            stopped: Polled between chunks; what has been computed by then is kept.
            top_k: The `top_k` the reply will be sampled with, if known.

        Yields:
            Tokens computed so far, after each chunk; nothing if all are cached or the prompt would not fit.
        """

    def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """Take a fingerprint of the model's predictions for a fixed text.

        Args:
            reference: The fingerprint it will be compared with; None takes a new one.

        Raises:
            EngineError: The model's output is not finite, the tokenizer differs from the reference's, or this kind of
                model has no fingerprint.
        """

    def generate(self, request: Request, stopped: Callable[[], bool] = ...) -> Iterator[Event]:
        """Generate one reply.

        Args:
            request: The conversation and the sampling settings.
            stopped: Polled between prompt chunks and tokens; returning True ends the reply with the text so far.

        Yields:
            Progress for prompts longer than one chunk, TextDelta, and finally Finished.

        Raises:
            EngineError: The prompt does not fit, or the library failed. The model remains usable.
        """


class Engine(Protocol):
    """A model to chat with. It generates one reply at a time.

    Every method may raise `EngineError`, whose text is meant for the user. The engine remains usable after an error:
    the next call restarts whatever died.
    """

    @property
    def info(self) -> ModelInfo | None:
        """The model's properties; None until it is loaded."""

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Load the model unless it is loaded already. Concurrent callers share one load.

        Args:
            on_progress: Called in the event loop while the model is installed and loaded.

        Raises:
            ModelError: The folder cannot be used.
            EngineError: Loading failed.
        """

    def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one reply, starting the engine if needed; the last is `Finished`.

        Closing the iterator early (`aclose`, cancellation) stops the reply.

        Raises:
            RequestError: The prompt is longer than the context.
            EngineError: The engine failed or died.
        """

    async def count(self, messages: tuple[Message, ...]) -> int:
        """Count the tokens of the prompt for these messages, including the opening of the reply."""

    async def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """Return the prompt for these messages as it would be sent now."""

    async def prefill(self, messages: tuple[Message, ...], top_k: int | None = None) -> int:
        """Compute the start of the next prompt ahead of time, while the engine is otherwise idle.

        If the last message is empty, only what any next prompt must start with is computed; otherwise the whole prompt,
        so that a reply to exactly this message starts at once. If the text changes, computation resumes where it
        differs.

        A reply requested meanwhile ends this at the next chunk boundary and reuses what was computed; so does
        cancelling.

        Args:
            messages: The conversation, ending with the draft of the next message.
            top_k: The `top_k` the reply will be sampled with, if known; with a different one, the work is repeated.

        Returns:
            The number of tokens computed; 0 if all were cached or the engine has no cache.
        """

    async def stop(self) -> None:
        """Stop the current reply or load within a few seconds; does nothing when idle.

        A reply ends within one token or one prompt chunk and keeps its text so far. If it does not end in time, the
        worker is killed along with the model, which the next call reloads; callers waiting for it get `StoppedError`.
        """

    async def aclose(self) -> None:
        """Shut the engine down and free its memory. Safe to call twice."""
