"""The transformers loop; no other engine imports torch and transformers.

It runs what MLflow's transformers flavor saves, and Hugging Face folders. Generation is the library's own `generate` in
a thread, with tokens delivered by a `TextIteratorStreamer`. This module first computes the prompt in chunks, so that a
long one can be stopped, and keeps the KV cache between turns. It blocks, so it belongs in the worker process. No code
from a model is executed and no pickle is read: `huggingface.read_hf_folder` rejects both beforehand.
"""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from edgechat.chat.conversation import Message
from edgechat.chat.prompt_format import prompt_pieces
from edgechat.engine import resources
from edgechat.engine.fingerprint import Fingerprint, unsupported
from edgechat.engine.kv_cache import common_prefix
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import (
    Event,
    Finished,
    ModelInfo,
    Progress,
    Prompt,
    Request,
    Sampling,
    TextDelta,
    Timings,
    Usage,
)
from edgechat.engine.shared import (
    PREFILL_CHUNK,
    VERIFY,
    choose_form,
    describe_prompt,
    fit,
    load_error,
    prefill_ids,
    reply_events,
    run_error,
)
from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.huggingface import read_hf_folder

LOOK_SECONDS = 0.05
"""How often to check whether to stop while waiting for a slow token."""

# The name of one argument, which changed between releases that are both in use.
_CACHE = (
    "cache"
    if "cache" in inspect.signature(transformers.GenerationMixin.prepare_inputs_for_generation).parameters
    else "past_key_values"
)

# Cache layers that can be rewound to an earlier token; those of recurrent models, for example, cannot.
_CROPPABLE = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer"})


class HfModel:
    """A loaded model and the KV cache of its last conversation.

    Attributes:
        info: The model's properties and limits.
        codec: The model's tokenizer.
        form: The prompt format in use.
    """

    def __init__(self, folder: Path, *, name: str = "", context: int | None = None, threads: int | None = None) -> None:
        """Load a Hugging Face folder, keeping its weights in their stored type.

        Args:
            folder: Holds config.json, safetensors files and the tokenizer, or has the layout MLflow uses.
            name: Display name; defaults to the folder's name.
            context: Requested context window in tokens; None uses what the model and the free memory allow.
            threads: Compute threads; None is one per physical core.

        Raises:
            ModelError: The folder cannot be loaded; the message includes the library's own.
        """
        began = time.perf_counter()
        count = threads or resources.threads()
        found = read_hf_folder(folder)
        self.codec = TokenCodec(found.tokenizer)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(count)
        only = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(found.tokenizer), **only)
            self._model, loading_info = transformers.AutoModelForCausalLM.from_pretrained(
                str(found.weights), dtype="auto", use_safetensors=True, output_loading_info=True, **only
            )
        except Exception as error:  # the library lets any exception through
            if "trust_remote_code" in str(error):
                raise ModelError(
                    "Model refused",
                    Sentence("{folder} needs code that does not come with transformers.", folder=folder),
                    "edgechat runs the code of no model; use one that the library knows by itself.",
                ) from error
            raise load_error(folder, error) from error
        if loading_info["missing_keys"]:  # the library would initialise them at random
            raise ModelError(
                "Model folder is incomplete",
                Sentence(
                    "{folder} lacks {loading_info} of its weights.",
                    folder=folder,
                    loading_info=len(loading_info["missing_keys"]),
                ),
                VERIFY,
            )
        # Some models request another kind of cache, which can be neither rewound nor passed on.
        self._model.generation_config.cache_implementation = None
        self.form = choose_form(self._render, self.codec.controls)
        self._eos = _end_tokens(self._model, self._tokenizer)
        config = self._model.config
        self._context = resources.settle_context(_sizes(config), context, resources.available_memory())
        # Beyond this length LongRoPE rotates keys by other angles, which invalidates what was computed before.
        limit = getattr(config, "original_max_position_embeddings", None)
        self._reuses_cache = limit is None or self._context.tokens <= limit
        longrope_limit = 0 if self._reuses_cache else int(limit or 0)
        self._cache: Any = None
        self._cached_ids: list[int] = []
        self.info = ModelInfo(
            name=name or folder.name,
            architecture=found.architecture,
            form=self.form.name,
            context=self._context.tokens,
            model_context=found.context_length or 0,
            context_reason=self._context.reason,
            threads=count,
            load_seconds=time.perf_counter() - began,
            longrope_limit=longrope_limit,
        )

    def _render(self, messages: list[dict[str, str]], reply: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply)
        return rendered

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the prompt for the next reply, or for continuing the last assistant message."""
        return self.codec.encode(prompt_pieces(self.form, messages))

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return the prompt with its parts and cached token count."""
        return describe_prompt(
            self.codec, self.form, messages, [self._cached_ids] if self._reuses_cache else [], recomputed=1
        )

    def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """Raise, because only onnxruntime-genai models have a fingerprint."""
        raise unsupported()

    def prefill(
        self,
        messages: Sequence[Message],
        stopped: Callable[[], bool] = lambda: False,
        top_k: int | None = None,
    ) -> Iterator[int]:
        """Compute the next prompt ahead of time; see `LoadedModel.prefill`."""
        del top_k  # the cache does not depend on it
        *before, last = messages
        whole = bool(last.content) and self._croppable()
        prompt = prefill_ids(self.encode, (*before, last if whole else replace(last, content="")))
        end = len(prompt) - whole  # the last token is left to `generate`
        if (
            not self._reuses_cache
            or len(prompt) >= self._context.tokens
            or common_prefix(self._cached_ids, prompt) >= end
        ):
            return
        try:
            cached = self._prepare(Sampling(), prompt)
            for computed in self._compute(prompt, end, stopped):
                yield computed - cached
        except Exception as error:
            self._drop()
            raise run_error(error) from error

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Generate one reply; see `LoadedModel.generate`."""
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self.encode)
        run = partial(self._run, request.sampling, prompt, limit, request.continued_text, began)
        yield from reply_events(run, request, stopped, self._drop)

    def _run(
        self, sampling: Sampling, prompt: list[int], limit: int, prefix: str, began: float, stopped: Callable[[], bool]
    ) -> Iterator[Event]:
        cached = self._prepare(sampling, prompt)
        total = len(prompt)
        # The last token is left to `generate`, which needs its logits.
        if self._reuses_cache:
            for done in self._compute(prompt, total - 1, stopped):
                if total - cached > PREFILL_CHUNK:
                    yield Progress("prefill", done - cached, total - cached)
            if len(self._cached_ids) < total - 1:
                yield _finished("cancelled", prompt, cached, [], began, time.perf_counter())
                return
        if limit < 1:
            yield _finished("length", prompt, cached, [], began, time.perf_counter())
            return
        step, prefix_ids = self.codec.decoder(), self.codec.reply_ids(prefix)
        for token in prefix_ids:  # primes the decoder with any partial character, and marks this as mid-text
            step(token)
        stream = _TokenStream(self._tokenizer, step)
        writing = _Writing(lambda stop: self._write(sampling, prompt, limit, stream, stop), stream)
        text: list[str] = []
        first_text = 0.0
        try:
            while True:
                if stopped():
                    writing.stop()
                try:
                    delta = next(stream)
                except queue.Empty:
                    continue
                except StopIteration:
                    break
                if delta:
                    first_text = first_text or time.perf_counter()
                    text.append(delta)
                    yield TextDelta(delta)
        finally:
            writing.end()
            # Also if the consumer left early; the last token was sampled but not computed.
            self._cached_ids = [*prompt, *stream.tokens][: self._cache.get_seq_length()]
        if writing.failure is not None:
            raise writing.failure
        reply = stream.tokens
        if reply and reply[-1] in self._eos:
            reason, reply = "stop", reply[:-1]
        else:
            reason = "length" if len(reply) >= limit else "cancelled"
        if reply:
            self.codec.remember(prefix + "".join(text), [*prefix_ids, *reply])
        decode = stream.times[len(reply) - 1] - stream.times[0] if reply else 0.0
        yield _finished(reason, prompt, cached, reply, began, stream.times[0], first_text, decode)

    def _compute(self, prompt: list[int], end: int, stopped: Callable[[], bool]) -> Iterator[int]:
        """Compute a prompt up to token `end` in chunks until stopped; yield the number of tokens cached."""
        while len(self._cached_ids) < end and not stopped():
            chunk = prompt[len(self._cached_ids) : min(len(self._cached_ids) + PREFILL_CHUNK, end)]
            with torch.no_grad():
                self._model.base_model(input_ids=torch.tensor([chunk]), use_cache=True, **{_CACHE: self._cache})
            self._cached_ids += chunk
            yield len(self._cached_ids)

    def _write(
        self, sampling: Sampling, prompt: list[int], limit: int, stream: _TokenStream, stop: threading.Event
    ) -> None:
        """Run `generate` from the cache; its tokens go into the stream."""
        if sampling.seed is None:
            torch.seed()  # torch starts from the same seed in every new process
        else:
            torch.manual_seed(sampling.seed)
        greedy = sampling.temperature == 0
        choice = (
            {} if greedy else {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        )
        ids = torch.tensor([prompt])
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=transformers.GenerationConfig(
                do_sample=not greedy,
                repetition_penalty=sampling.repetition_penalty,
                max_new_tokens=limit,
                eos_token_id=sorted(self._eos) or None,
                pad_token_id=min(self._eos, default=0),
                **choice,
            ),
            streamer=stream,
            stopping_criteria=[_Stopped(stop)],
            **{_CACHE: self._cache},
        )

    def _prepare(self, sampling: Sampling, prompt: list[int]) -> int:
        """Rewind the cache to where the prompt diverges; return the number of tokens reused."""
        common = min(common_prefix(self._cached_ids, prompt), len(prompt) - 1)
        surplus = len(self._cached_ids) - common
        # Tokens computed singly and in chunks differ in the last bits, so a repeatable reply starts from an empty
        # cache.
        repeatable = sampling.seed is not None and sampling.temperature > 0
        if self._cache is None or repeatable or not self._reuses_cache or (surplus and not self._cut(surplus)):
            self._drop()
            self._cache = transformers.DynamicCache(config=self._model.config)
            return 0
        del self._cached_ids[common:]
        return common

    def _croppable(self) -> bool:
        """Whether the cache can be rewound, however long the chat is."""
        cache = transformers.DynamicCache(config=self._model.config) if self._cache is None else self._cache
        return all(type(layer).__name__ == "DynamicLayer" for layer in cache.layers)

    def _cut(self, surplus: int) -> bool:
        if not all(type(layer).__name__ in _CROPPABLE for layer in self._cache.layers):
            return False
        try:
            self._cache.crop(-surplus)
        except (RuntimeError, ValueError):  # a sliding window has moved past the tokens needed
            return False
        return True

    def _drop(self) -> None:
        self._cache = None
        self._cached_ids = []


class _TokenStream(transformers.TextIteratorStreamer):  # type: ignore[misc]
    """The library's streamer, delivering tokens.

    Its own text arrives word by word, late, and ends with a partial character if a reply is cut within one.
    """

    def __init__(self, tokenizer: Any, decode: Callable[[int], str]) -> None:
        super().__init__(tokenizer, skip_prompt=True, timeout=LOOK_SECONDS)
        self.next_tokens_are_prompt: bool = True
        self._decode = decode
        self.tokens: list[int] = []
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        if self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
            return
        self.tokens.append(int(value.reshape(-1)[0]))
        self.times.append(time.perf_counter())
        # Also without text, so that the consumer checks after each token whether to stop.
        self.text_queue.put(self._decode(self.tokens[-1]))

    def end(self) -> None:
        self.text_queue.put(self.stop_signal)


class _Stopped(transformers.StoppingCriteria):  # type: ignore[misc]
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stop.is_set())


class _Writing:
    """The thread that runs `generate`; an exception is stored for the waiting thread."""

    def __init__(self, write: Callable[[threading.Event], None], stream: _TokenStream) -> None:
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._write = write
        self._stream = stream
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._write(self._stop)
        except Exception as error:
            self.failure = error
        finally:
            self._stream.end()

    def stop(self) -> None:
        self._stop.set()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def _finished(
    reason: str,
    prompt: list[int],
    cached: int,
    reply: list[int],
    began: float,
    prefilled: float,
    first_text: float = 0.0,
    decode: float = 0.0,
) -> Finished:
    return Finished(
        reason,  # type: ignore[arg-type]
        Usage(prompt=len(prompt), cached=cached, completion=len(reply)),
        Timings(prefill=prefilled - began, ttft=(first_text or time.perf_counter()) - began, decode=decode),
    )


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a reply according to the model's settings and its tokenizer."""
    eos = model.generation_config.eos_token_id
    named = eos if isinstance(eos, list) else [eos]
    return frozenset(int(token) for token in (*named, tokenizer.eos_token_id) if token is not None)


def _sizes(config: Any) -> dict[str, Any]:
    """Return a configuration's sizes under their genai_config.json names, for `resources.settle_context`.

    That assumes four bytes per number. Most weights need only two, but a growing cache is copied layer by layer.
    """
    heads = config.num_attention_heads
    return {
        "model": {
            "type": config.model_type,
            "context_length": getattr(config, "max_position_embeddings", None),
            "decoder": {
                "num_hidden_layers": config.num_hidden_layers,
                "num_attention_heads": heads,
                "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
                "head_size": getattr(config, "head_dim", None) or config.hidden_size // heads,
            },
        }
    }
