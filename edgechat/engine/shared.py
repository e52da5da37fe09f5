"""What every loop that runs a model does and says in the same way, whichever library computes.

A user who changes the model must not meet other limits or other words. Nothing here may import the library of an
engine: each of them is imported by its own loop alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgechat.chat.conversation import Message
from edgechat.chat.prompt_format import PHI3, PromptForm, Render, TemplateForm
from edgechat.engine.kv_cache import common_prefix
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import Event, Prompt, Request, too_long
from edgechat.engine.stop_sequences import until_stop
from edgechat.errors import EdgechatError, EngineError, ModelError

PREFILL_CHUNK = 64
"""Prompt tokens computed in one call. Larger chunks are no faster, and a stop waits for the end of one."""

_LEAST_CHUNK = 8
_CHUNK_SECONDS = 0.75
"""What one call may take: half of the time a stop has, see `client.GRACE_SECONDS`."""

LONGEST_TOKEN = 256
"""Characters no token has more of; the longest known, a run of spaces, has 162."""

VERIFY = "Copy the model again from its source; `edgechat models verify` shows what differs."


class Pace:
    """How many tokens of a prompt are computed in one call: fewer on a device that is slow for its model.

    A stop waits for the end of a call, and a worker in which it takes too long is ended with all that it has computed.

    Attributes:
        size: Tokens of the next call; few at first, which tells how fast the device is.
    """

    def __init__(self) -> None:
        self.size = _LEAST_CHUNK

    def note(self, tokens: int, seconds: float) -> None:
        """Learn from a call. Twice the tokens take twice the time at the most, so that growing is safe."""
        fitting = int(tokens * _CHUNK_SECONDS / max(seconds, 1e-6))
        if fitting < tokens:
            self.size = _power(min(self.size, fitting))
        elif tokens >= self.size:
            self.size = _power(max(self.size, fitting))


def _power(size: int) -> int:
    """The power of two up to that size, within bounds."""
    return max(_LEAST_CHUNK, min(PREFILL_CHUNK, 1 << max(size, 1).bit_length() - 1))


def fit(request: Request, context: int, encode: Callable[[Sequence[Message]], list[int]]) -> tuple[list[int], int]:
    """The ids of a request's prompt, and how many tokens its reply may have.

    Args:
        request: What is asked.
        context: Tokens the session may hold.
        encode: The model's own encoding of messages.

    Raises:
        RequestError: The prompt leaves no room for a reply.
    """
    # Encoding takes seconds a megabyte and cannot be stopped; what cannot fit is not encoded at all.
    least = sum(len(message.content) for message in request.messages) // LONGEST_TOKEN
    if least >= context:
        raise too_long(f"more than {least:,}", context)
    prompt = encode(request.messages)
    room = context - len(prompt)
    if room < 1:
        raise too_long(f"{len(prompt):,}", context)
    return prompt, room if request.max_tokens is None else min(room, request.max_tokens)


def known_ahead(encode: Callable[[Sequence[Message]], list[int]], messages: Sequence[Message]) -> list[int]:
    """The ids of a prompt before it is sent: all of them, or while its last message is empty those that are certain.

    Args:
        encode: The model's own encoding of messages.
        messages: The conversation, and what is written of the next message.
    """
    *before, last = messages
    if last.content:
        return encode(messages)
    # Seldom an id too many, where the first letters join the form's own words; the prompt then parts from it there.
    left, right = (encode((*before, replace(last, content=text))) for text in ("a", "The"))
    return left[: common_prefix(left, right)]


def show(
    codec: TokenCodec,
    form: PromptForm,
    messages: Sequence[Message],
    held: Iterable[Sequence[int]],
    *,
    fewest: int,
    ready: Sequence[Sequence[int]] = (),
) -> Prompt:
    """A prompt with what its ids stand for.

    Args:
        codec: The model's tokenizer.
        form: The model's prompt form.
        messages: The conversation.
        held: The ids of each KV cache.
        fewest: Tokens at the end that are computed in any other case.
        ready: The ids of each KV cache from which a reply can begin at once.
    """
    parts = tuple(codec.parts(form.pieces(messages)))
    ids = [token for part in parts for token in part.ids]
    if ids in ready:
        return Prompt(parts, len(ids))
    longest = max((common_prefix(tokens, ids) for tokens in held), default=0)
    return Prompt(parts, min(longest, max(len(ids) - fewest, 0)))


def written(
    run: Callable[[Callable[[], bool]], Iterator[Event]],
    request: Request,
    stopped: Callable[[], bool],
    give_up: Callable[[], None],
) -> Iterator[Event]:
    """The events of one reply, to its end or to a stop string.

    Args:
        run: Writes it; see `stops.until_stop`.
        request: For its stop strings.
        stopped: Whether somebody wants the reply to end.
        give_up: Called when the library failed: what it holds cannot be trusted any more.

    Raises:
        EdgechatError: As `run` raised it, or in plain words what the library said.
    """
    try:
        yield from until_stop(run, request.stop, stopped)
    except EdgechatError:
        raise
    except KeyboardInterrupt:  # halfway, in a notebook
        give_up()
        raise
    except Exception as error:
        give_up()
        raise run_error(error) from error


def choose_form(render: Render, controls: frozenset[str]) -> PromptForm:
    """The form of a model: Phi-3's own where its template says the same, else the model's template.

    Phi-3's native form is preferred because some Phi-3 templates silently leave out the system message.

    Raises:
        ModelError: There is neither a chat template nor the Phi-3 control tokens.
    """
    own = TemplateForm(render, controls, "chatml" if "<|im_start|>" in controls else "template")
    probe = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    native = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"} <= controls
    try:
        pieces = own.pieces(probe)
    except EngineError as error:
        if native:
            return PHI3
        raise ModelError(
            "Model has no usable chat template",
            f"{error.message}".strip() or "tokenizer_config.json holds no chat_template.",
            "Use an instruction-tuned model, or add its chat template to the folder.",
        ) from error
    return PHI3 if native and pieces == PHI3.pieces(probe) else own


def short(error: BaseException) -> str:
    """A library's own words on one line, without a full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def load_error(folder: Path, error: BaseException) -> ModelError:
    """Why a model could not be loaded, in plain words."""
    if _out_of_memory(error):
        return ModelError(
            "Not enough memory for the model",
            f"{folder.name} could not be loaded: {short(error)}.",
            "Close other programs or use a smaller model.",
        )
    return ModelError("Model cannot be loaded", f"{folder}: {short(error)}.", VERIFY)


def run_error(error: BaseException) -> EngineError:
    """Why a reply could not be written, in plain words."""
    if _out_of_memory(error):
        return EngineError(
            "Memory ran out", f"{short(error)}.", "Set a smaller context (EDGECHAT_CONTEXT) or close other programs."
        )
    return EngineError("The model failed", f"{short(error)}.", "Try again; if it stays, verify the model.")


_NO_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "can't allocate memory")
"""How onnxruntime, the C++ library and torch say it."""


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)
