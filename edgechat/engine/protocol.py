"""What an engine is: one method that takes a request and yields events.

These values cross a process boundary as JSON lines (`engine.wire`), so they are msgspec structs: frozen, typed when
decoded, told apart by a tag. Nothing here knows how a model is run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Literal, Protocol

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.fingerprint import Fingerprint
from edgechat.errors import EngineError, RequestError


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy; up to 2.
        top_p: The smallest set of tokens whose probabilities reach this sum, 0 to 1.
        repetition_penalty: 1 is none.
        seed: Makes sampling repeatable; None draws one.
        top_k: Tokens to choose from, likeliest first.
    """

    temperature: float = 0.3
    top_p: float = 0.9
    repetition_penalty: float = 1.05
    seed: int | None = None
    top_k: int = 50


class Request(msgspec.Struct, frozen=True):
    """One reply asked for.

    Attributes:
        messages: The conversation up to and including the user message to answer, or the assistant's to go on with:
            a last message of the assistant is continued where it breaks off, and only what follows is yielded.
        sampling: How to choose tokens.
        max_tokens: Upper bound of the reply's length; None is up to the end of the context.
        stop: Strings that end the reply where one of them begins, none of them empty.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def begun(self) -> str:
        """The text of the reply that is gone on with; empty where a new reply is asked for."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else ""


class PromptPart(msgspec.Struct, frozen=True):
    """A part of a prompt as it is sent.

    Attributes:
        kind: "control": one control token. "text": what a person wrote, with the form's own words around it. "reply":
            what a model wrote.
        text: Its characters. Of a reply, the ids are those it was generated as, while they are remembered.
        ids: What the model is given for it.
    """

    kind: Literal["control", "text", "reply"]
    text: str
    ids: tuple[int, ...]


class Prompt(msgspec.Struct, frozen=True, tag="prompt"):
    """A prompt, exactly as it is sent.

    Attributes:
        parts: In order; their ids together are the prompt.
        cached: How many of the first ids are computed already.
    """

    parts: tuple[PromptPart, ...]
    cached: int

    @property
    def tokens(self) -> int:
        """Number of ids."""
        return sum(len(part.ids) for part in self.parts)


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """The next characters of the reply; never empty, never half a character."""

    text: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a long step came.

    Attributes:
        phase: "install": a model is being made ready for the first time, in percent. "check": its files are compared
            with their manifest, in bytes. "load": it is being read into
            memory; `total` is 0, for nobody can tell how long it takes. "prefill": prompt tokens computed.
            "summarise": the model sums up what is no longer sent; `total` is 0.
        done, total: The step's own units.
        note: A few words on what is being done now; may be empty.
    """

    phase: Literal["install", "check", "load", "prefill", "summarise"]
    done: int
    total: int
    note: str = ""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one reply.

    Attributes:
        prompt: Tokens of the whole prompt.
        cached: Those of them that were already computed.
        completion: Tokens generated, without the end token.
        context: Tokens of the context now in use, `prompt` + `completion`.
    """

    prompt: int
    cached: int
    completion: int

    @property
    def context(self) -> int:
        """Tokens of the context in use after the reply."""
        return self.prompt + self.completion


class Timings(msgspec.Struct, frozen=True):
    """Seconds of one reply, measured in the worker.

    Attributes:
        prefill: From taking the request to the end of the prompt's computation.
        ttft: From taking the request to the first text.
        decode: From the first generated token to the last.
    """

    prefill: float
    ttft: float
    decode: float


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The end of a reply; always the last event of a stream that did not raise.

    Attributes:
        reason: "stop": the model ended it, or a stop string did. "length": max_tokens or the context was reached.
            "cancelled": it was stopped, and what was yielded before is valid.
    """

    reason: Literal["stop", "length", "cancelled"]
    usage: Usage
    timings: Timings

    @property
    def tokens_per_second(self) -> float:
        """Decode speed; 0 where fewer than two tokens came."""
        return (self.usage.completion - 1) / self.timings.decode if self.timings.decode > 0 else 0.0


Event = TextDelta | Progress | Finished

Kind = Literal["genai", "transformers"]
"""Which library runs a model: onnxruntime-genai, or transformers with torch, which are an extra."""


def too_long(tokens: str, context: int) -> RequestError:
    """The error for a prompt of that many tokens, in words, which the context cannot hold with a reply."""
    return RequestError(
        "The conversation is longer than the context",
        f"It has {tokens} tokens; the context holds {context:,}, the reply included.",
        "Start a new chat, shorten the message, or raise the context in the settings.",
    )


class StoppedError(EngineError):
    """What was going on was ended because the user wanted it to end, and the process that did it with it."""


class ModelInfo(msgspec.Struct, frozen=True, tag="ready"):
    """What the engine says of a loaded model.

    Attributes:
        name: The model folder's name.
        architecture: Its type, as genai_config.json or config.json names it, such as "phi3" or "llama".
        form: Name of the prompt form in use.
        context: Tokens this session may hold; the effective limit.
        model_context: Tokens the model was made for.
        context_reason: Why `context` is less than `model_context`: "memory", "setting", "model" or "".
        threads: Threads the computation uses.
        load_seconds: Seconds it took to load.
        cliff: Tokens on whose crossing the model computes the whole prompt anew, in one go; 0 where nothing of the
            kind is within `context`.
        kept_chats: Chats whose computed tokens can be kept at a time.
        confinement: What of the operating system confines the process that holds the model, in words; empty is nothing.
    """

    name: str
    architecture: str = ""
    form: str = ""
    context: int = 0
    model_context: int = 0
    context_reason: str = ""
    threads: int = 0
    load_seconds: float = 0.0
    cliff: int = 0
    kept_chats: int = 1
    confinement: str = ""


class LoadedModel(Protocol):
    """A model in this process, which blocks while it computes; what the worker makes of one is an `Engine`."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and how much it may hold."""

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the prompt that asks for the next reply."""

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """The same ids with what they stand for, and how many of them are computed already."""

    def prefill(
        self, messages: Sequence[Message], stopped: Callable[[], bool] = ..., top_k: int | None = None
    ) -> Iterator[int]:
        """Compute what the next prompt is going to begin with, or all of it; see `Engine.prefill`.

        Args:
            messages: The conversation, and what is written of the next message.
            stopped: Asked between chunks; what was computed by then stays.
            top_k: What the reply is going to be sampled with, where that is known.

        Yields:
            Tokens computed so far, after each chunk; nothing where all of it is computed, or none of it would fit.
        """

    def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """What the model says of a fixed text, in numbers.

        Args:
            reference: What it is going to be compared with; None takes a new one.

        Raises:
            EngineError: The numbers are none, the tokenizer is another than the reference's, or the model is of a kind
                that has no fingerprint.
        """

    def generate(self, request: Request, stopped: Callable[[], bool] = ...) -> Iterator[Event]:
        """Write one reply.

        Args:
            request: The conversation and how to sample.
            stopped: Asked between chunks of the prompt and between tokens; True ends the reply with what has come.

        Yields:
            Progress for prompts of more than one chunk, TextDelta, and Finished at last.

        Raises:
            EngineError: The prompt does not fit, or the library failed. The model can be used again.
        """


class Engine(Protocol):
    """A model that can be talked to. One reply runs at a time.

    Every method may raise `EngineError`, whose words are for the user. After an error the engine can be used again:
    the next call starts what died.
    """

    @property
    def info(self) -> ModelInfo | None:
        """What is known of the model; None until it is loaded."""

    async def start(self, on_progress: Callable[[Progress], None] | None = None) -> ModelInfo:
        """Load the model, or do nothing when it is loaded. Several callers at once share one load.

        Args:
            on_progress: Called in the event loop as installing and loading go on.

        Raises:
            ModelError: The folder cannot be used.
            EngineError: Loading failed.
        """

    def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one reply, starting the engine if needed; ends after `Finished`.

        Closing the iterator early (`aclose`, cancellation) stops the reply.

        Raises:
            RequestError: The prompt is longer than the context.
            EngineError: The engine failed or died.
        """

    async def count(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt these messages make, the opening of a reply included."""

    async def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """The prompt these messages make, as it would be sent now."""

    async def prefill(self, messages: tuple[Message, ...], top_k: int | None = None) -> int:
        """Compute the beginning of the next prompt ahead, while nothing else is asked of the engine.

        While the next message is empty, that is what every prompt begins with; else it is the whole prompt, and a reply
        to this very message begins at once. What is written on is computed from where it parts.

        A reply that is asked for meanwhile ends this between two chunks and goes on from what was computed; cancelling
        the call does so as well.

        Args:
            messages: The conversation, and what is written of the next message.
            top_k: What the reply is going to be sampled with, where that is known; with another one what is computed
                here is computed again.

        Returns:
            Tokens computed; 0 where nothing had to be, or the engine keeps nothing.
        """

    async def stop(self) -> None:
        """End what goes on, a reply or a load, within a few seconds; nothing happens when nothing does.

        A reply ends within one token or one chunk of the prompt, and keeps what has come. What does not end by then is
        ended together with the model, which the next call loads again; whoever waits for it meets `StoppedError`.
        """

    async def aclose(self) -> None:
        """End the engine and free its memory. Safe to call twice."""
