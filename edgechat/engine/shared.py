"""Behaviour and messages shared by all loops that run a model, whichever library computes.

Switching models must not confront the user with different limits or wording. Nothing here may import an engine's
library; each is imported by its own loop only.
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
from edgechat.i18n.sentence import Sentence

PREFILL_CHUNK = 64
"""Prompt tokens computed per call. Larger chunks are no faster, and a stop waits for the current one."""

_LEAST_CHUNK = 8
_CHUNK_SECONDS = 0.75
"""Maximum seconds per call: half the time a stop has, see `client.GRACE_SECONDS`."""

LONGEST_TOKEN = 256
"""Maximum characters per token; the longest known, a run of spaces, has 162."""

VERIFY = "Copy the model again from its source; `edgechat models verify` shows what differs."


class Pace:
    """Adapts the number of prompt tokens per call to the speed of the device.

    A stop waits for the current call, and a worker that takes too long is killed along with everything it has computed.

    Attributes:
        size: Tokens in the next call; small at first, to find out how fast the device is.
    """

    def __init__(self) -> None:
        self.size = _LEAST_CHUNK

    def record(self, tokens: int, seconds: float) -> None:
        """Record the duration of a call. Doubling the tokens at most doubles the time, so growing is safe."""
        fitting = int(tokens * _CHUNK_SECONDS / max(seconds, 1e-6))
        if fitting < tokens:
            self.size = _power(min(self.size, fitting))
        elif tokens >= self.size:
            self.size = _power(max(self.size, fitting))


def _power(size: int) -> int:
    """Return the largest power of two up to `size`, within bounds."""
    return max(_LEAST_CHUNK, min(PREFILL_CHUNK, 1 << max(size, 1).bit_length() - 1))


def fit(request: Request, context: int, encode: Callable[[Sequence[Message]], list[int]]) -> tuple[list[int], int]:
    """Return the prompt ids of a request and the maximum length of its reply in tokens.

    Args:
        request: The request.
        context: Context window of the session in tokens.
        encode: The model's encoder for messages.

    Raises:
        RequestError: The prompt leaves no room for a reply.
    """
    # Encoding takes seconds per megabyte and cannot be stopped, so a text that cannot fit is not encoded at all.
    least = sum(len(message.content) for message in request.messages) // LONGEST_TOKEN
    if least >= context:
        raise too_long(f"more than {least:,}", context)
    prompt = encode(request.messages)
    room = context - len(prompt)
    if room < 1:
        raise too_long(f"{len(prompt):,}", context)
    return prompt, room if request.max_tokens is None else min(room, request.max_tokens)


def prefill_ids(encode: Callable[[Sequence[Message]], list[int]], messages: Sequence[Message]) -> list[int]:
    """Return the ids of a prompt before it is sent; while its last message is empty, only those that are certain.

    Args:
        encode: The model's encoder for messages.
        messages: The conversation, ending with the draft of the next message.
    """
    *before, last = messages
    if last.content:
        return encode(messages)
    # Rarely one id too many, if the first letters merge with the markup; the prompt then diverges there.
    left, right = (encode((*before, replace(last, content=text))) for text in ("a", "The"))
    return left[: common_prefix(left, right)]


def describe_prompt(
    codec: TokenCodec,
    form: PromptForm,
    messages: Sequence[Message],
    cached_ids: Iterable[Sequence[int]],
    *,
    recomputed: int,
    ready: Sequence[Sequence[int]] = (),
) -> Prompt:
    """Return a prompt with its parts and cached token count.

    Args:
        codec: The model's tokenizer.
        form: The model's prompt format.
        messages: The conversation.
        cached_ids: Token ids in each KV cache.
        recomputed: Tokens at the end that are always computed.
        ready: Token ids in each KV cache whose next logits are available.
    """
    parts = tuple(codec.parts(form.pieces(messages)))
    ids = [token for part in parts for token in part.ids]
    if ids in ready:
        return Prompt(parts, len(ids))
    longest = max((common_prefix(tokens, ids) for tokens in cached_ids), default=0)
    return Prompt(parts, min(longest, max(len(ids) - recomputed, 0)))


def reply_events(
    run: Callable[[Callable[[], bool]], Iterator[Event]],
    request: Request,
    stopped: Callable[[], bool],
    give_up: Callable[[], None],
) -> Iterator[Event]:
    """Yield the events of one reply, up to its end or a stop string.

    Args:
        run: Generates it; see `stop_sequences.until_stop`.
        request: The request with its stop strings.
        stopped: Whether the reply should end.
        give_up: Called when the library failed, since its state can no longer be trusted.

    Raises:
        EdgechatError: As raised by `run`, or a readable version of the library's error.
    """
    try:
        yield from until_stop(run, request.stop, stopped)
    except EdgechatError:
        raise
    except KeyboardInterrupt:  # interrupted in a notebook
        give_up()
        raise
    except Exception as error:
        give_up()
        raise run_error(error) from error


def choose_form(render: Render, controls: frozenset[str]) -> PromptForm:
    """Choose a model's prompt format: Phi-3's native one if its template agrees, else the model's template.

    The native Phi-3 format is preferred because some Phi-3 templates silently omit the system message.

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


def one_line(error: BaseException) -> str:
    """Return a library's message on one line, without a full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def load_error(folder: Path, error: BaseException) -> ModelError:
    """Explain why a model could not be loaded."""
    if _out_of_memory(error):
        return ModelError(
            "Not enough memory for the model",
            Sentence("{name} could not be loaded: {one_line}.", name=folder.name, one_line=one_line(error)),
            "Close other programs or use a smaller model.",
        )
    return ModelError(
        "Model cannot be loaded", Sentence("{folder}: {one_line}.", folder=folder, one_line=one_line(error)), VERIFY
    )


def run_error(error: BaseException) -> EngineError:
    """Explain why a reply could not be generated."""
    if _out_of_memory(error):
        return EngineError(
            "Memory ran out", f"{one_line(error)}.", "Set a smaller context (EDGECHAT_CONTEXT) or close other programs."
        )
    return EngineError("The model failed", f"{one_line(error)}.", "Try again; if it stays, verify the model.")


_NO_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "can't allocate memory")
"""How onnxruntime, the C++ library and torch report it."""


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)
