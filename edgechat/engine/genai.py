"""The onnxruntime-genai loop: loads a model, computes prompts and generates tokens.

Everything here blocks and holds the GIL while the library computes, so it runs in the worker process, or in a process
with nothing else to do, such as MLflow scoring. Generators are reused as long as possible: the KV cache is rewound to
where a new prompt diverges from the tokens already computed, and only the rest is computed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from edgechat.chat.conversation import Message
from edgechat.chat.prompt_format import prompt_pieces, split_controls
from edgechat.engine import fingerprint, resources
from edgechat.engine.batch import BatchWriter, choose_padding
from edgechat.engine.detokenizer import GrowingReply, collect
from edgechat.engine.fingerprint import Fingerprint
from edgechat.engine.kv_cache import Cache, RecentCaches, common_prefix
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
from edgechat.engine.session_options import model_overlay, session_options
from edgechat.engine.shared import (
    PREFILL_CHUNK,
    VERIFY,
    Pace,
    choose_form,
    describe_prompt,
    fit,
    load_error,
    one_line,
    prefill_ids,
    reply_events,
    run_error,
)
from edgechat.errors import EdgechatError, ModelError
from edgechat.i18n.sentence import Sentence

SEARCH = {
    "do_sample": True,
    # A generator created at temperature 0 or without top_p ignores later changes to them; one created with both honours
    # them, and is greedy at temperature 0.
    "temperature": 1.0,
    "top_p": 0.9,
}
"""Search options every generator is created with."""

_MIN_CHUNK = 2
"""Minimum tokens to compute in one call. A single token uses another kernel, which rounds activations to 8 bits: of two
almost equally likely tokens the other one may win, and repeating a question would give a different answer. Two tokens
give bit-identical logits to any larger number."""


class GenaiModel:
    """A loaded model and its generators: one, or several if memory allows.

    Attributes:
        info: The model's properties and limits.
        codec: The model's tokenizer.
        form: The prompt format in use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        context: int | None = None,
        threads: int | None = None,
        spinning: bool = True,
        cache_bytes: int | None = 0,
    ) -> None:
        """Load an ONNX GenAI folder.

        Args:
            folder: Holds genai_config.json, the ONNX file and the tokenizer.
            name: Display name; defaults to the folder's name.
            context: Requested context window in tokens; None uses what the model and the free memory allow.
            threads: Compute threads; None is one per physical core.
            spinning: Whether idle compute threads spin: faster on an idle machine, slower on a busy one.
            cache_bytes: Memory budget for KV caches of other recent chats; None uses a share of the free memory.

        Raises:
            ModelError: The folder cannot be loaded; the message includes the library's own.
        """
        began = time.perf_counter()
        count = threads or resources.threads()
        config_path = folder / "genai_config.json"
        try:
            config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                "Model cannot be read",
                Sentence("{config_path}: {one_line}.", config_path=config_path, one_line=one_line(error)),
                VERIFY,
            ) from error
        self._folder = folder
        self.codec = TokenCodec(folder)
        padding = choose_padding(folder, config, self.codec)
        overlay = model_overlay(config.get("model", {}), session_options(count, spinning=spinning))
        if padding is not None:
            overlay["pad_token_id"] = padding
        try:
            settings = og.Config(str(folder))
            settings.overlay(json.dumps({"model": overlay}))
            self._model = og.Model(settings)
            self._tokenizer = og.Tokenizer(self._model)
        except Exception as error:  # the library raises RuntimeError as well as bare Exception
            raise load_error(folder, error) from error
        resources.return_unneeded_memory(folder)
        self._eos = frozenset(int(token) for token in self._tokenizer.eos_token_ids)
        self.form = choose_form(self._render, self.codec.controls)
        self._context = resources.settle_context(config, context, resources.available_memory())
        kv = resources.kv_bytes_per_token(config) * self._context.tokens
        self._caches = RecentCaches(
            self._make_generator,
            capacity=resources.cached_chats(kv, resources.available_memory(), cache_bytes),
            # Other programs may have used the memory since.
            has_room=lambda: resources.available_memory() > kv + resources.RESERVE,
        )
        self._pace = Pace()
        self._ahead: tuple[tuple[Message, ...], list[int]] | None = None
        self._seed: int | None = None
        self._top_k = Sampling().top_k
        self._vocabulary = int(config.get("model", {}).get("vocab_size") or self.codec.vocabulary)
        self._batch = BatchWriter(
            self._model,
            eos=self._eos,
            padding=padding,
            context=self._context.tokens,
            options=self._search,
            new_reply=self._new_reply,
        )
        self.info = ModelInfo(
            name=name or folder.name,
            architecture=str(config.get("model", {}).get("type", "")),
            form=self.form.name,
            context=self._context.tokens,
            model_context=int(config.get("model", {}).get("context_length") or 0),
            context_reason=self._context.reason,
            threads=count,
            load_seconds=time.perf_counter() - began,
            longrope_limit=resources.longrope_limit(config, self._context.tokens),
            cached_chats=self._caches.capacity,
        )

    def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """Take the model's fingerprint; see `LoadedModel.fingerprint`."""
        self._drop()  # frees its KV cache before another is allocated

        def make(size: int) -> Any:
            params = og.GeneratorParams(self._model)
            params.set_search_options(max_length=size, do_sample=False)
            return og.Generator(self._model, params)

        try:
            return fingerprint.take(self._folder, make, reference)
        except EdgechatError:
            raise
        except Exception as error:
            raise run_error(error) from error

    def _render(self, messages: list[dict[str, str]], reply: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=reply)
        return rendered

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the prompt for the next reply, or for continuing the last assistant message."""
        if self._ahead is not None and self._ahead[0] == tuple(messages):
            return [*self._ahead[1]]
        return self.codec.encode(prompt_pieces(self.form, messages))

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return the prompt with its parts and cached token count."""
        cached, ready = self._caches.cached_ids(), self._caches.cached_ids(ready=True)
        return describe_prompt(self.codec, self.form, messages, cached, recomputed=_MIN_CHUNK, ready=ready)

    def prefill(
        self,
        messages: Sequence[Message],
        stopped: Callable[[], bool] = lambda: False,
        top_k: int | None = None,
    ) -> Iterator[int]:
        """Compute the next prompt ahead of time; see `LoadedModel.prefill`."""
        prompt, whole = prefill_ids(self.encode, messages), bool(messages[-1].content)
        if len(prompt) >= self._context.tokens:
            return
        if whole:  # it will be sent soon, and encoding a long chat would take most of the remaining time
            self._ahead = tuple(messages), prompt
        self._seed = None
        self._top_k = top_k or self._top_k
        try:
            cache = self._caches.take(prompt, ahead=True, created_for=(self._top_k, None))
            if not whole and common_prefix(cache.tokens, prompt) > len(prompt) - _MIN_CHUNK:
                return
            cached = self._cut(cache, prompt)
            for computed in self._compute(cache, prompt, stopped):
                yield computed - cached
        except Exception as error:
            self._drop()
            raise run_error(error) from error

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Generate one reply.

        Args:
            request: The conversation and the sampling settings.
            stopped: Polled between chunks and tokens; returning True ends the reply with the text so far.

        Yields:
            Progress for prompts longer than one chunk, TextDelta, and finally Finished.

        Raises:
            RequestError: The prompt does not fit.
            EngineError: The library failed; the KV cache is then dropped.
        """
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self.encode)
        self._ahead = None  # this reply may be remembered with different ids
        yield from self._write(prompt, limit, request, stopped, began)

    def complete(self, request: Request) -> Iterator[Event]:
        """Continue raw text in which control tokens are recognised.

        Only for a prompt already in the model's own format, never for what a person types into a chat, which could then
        steer the model. Otherwise like `generate`.
        """
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self._encode_form)
        yield from self._write(prompt, limit, request, lambda: False, began)

    def _encode_form(self, messages: Sequence[Message]) -> list[int]:
        text = "".join(message.content for message in messages)
        return self.codec.encode(tuple(split_controls(text, self.codec.controls)))

    def generate_batch(self, requests: Sequence[Request]) -> list[tuple[str, Finished]]:
        """Generate a reply to each request, batching where that is faster.

        Requests with a seed are generated one at a time, exactly as `generate` does. Batched rows use different kernels
        from single ones, on activations rounded to 8 bits, so either of two almost equally likely tokens may win.

        Returns:
            The text of each reply and its final event, in order.

        Raises:
            RequestError: A prompt does not fit; nothing was generated.
            EngineError: See `generate`.
        """
        fitted = [fit(request, self._context.tokens, self.encode) for request in requests]
        prompts = [prompt for prompt, _ in fitted]
        replies: list[tuple[str, Finished] | None] = [None] * len(requests)
        for rows in self._batches(requests, prompts):
            self._drop()  # frees its KV cache before the batch's is allocated
            try:
                reply_events = self._batch.write([prompts[row] for row in rows], [requests[row] for row in rows])
            except Exception as error:
                raise run_error(error) from error
            for row, reply in zip(rows, reply_events, strict=True):
                replies[row] = reply
        for row, request in enumerate(requests):
            if replies[row] is None:
                events = self._write(*fitted[row], request, lambda: False, time.perf_counter())
                replies[row] = collect(events)
        return [reply for reply in replies if reply is not None]

    def _batches(self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yield groups of rows that can share a batch: same sampling, no seed, similar length."""
        groups: dict[Sampling, list[int]] = {}
        for row, request in enumerate(requests):
            if request.sampling.seed is None:
                groups.setdefault(request.sampling, []).append(row)
        for rows in groups.values():
            rows.sort(key=lambda row: len(prompts[row]))
            yield from self._batch.split(rows, prompts, requests)

    def _write(
        self, prompt: list[int], limit: int, request: Request, stopped: Callable[[], bool], began: float
    ) -> Iterator[Event]:
        run = partial(self._run, request.sampling, prompt, limit, request.continued_text, began)
        yield from reply_events(run, request, stopped, self._drop)

    def _run(
        self,
        sampling: Sampling,
        prompt: list[int],
        limit: int,
        continued_text: str,
        began: float,
        stopped: Callable[[], bool],
    ) -> Iterator[Event]:
        cache, cached = self._prepare(sampling, prompt)
        generator = cache.generator
        total = len(prompt)
        for done in self._compute(cache, prompt, stopped):
            if total - cached > PREFILL_CHUNK:
                yield Progress("prefill", done - cached, total - cached)
        cancelled = len(cache.tokens) < total
        prefilled = time.perf_counter()
        first_text = first_token = last_token = 0.0
        reply = self._new_reply(continued_text)
        reason = "cancelled" if cancelled else "length"
        while not cancelled and len(reply.ids) < limit:
            if stopped():
                reason = "cancelled"
                break
            cache.ready = False
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._eos:
                # The end token is neither in the sequence nor in the KV cache; the next prompt supplies it.
                reason = "stop"
                break
            last_token = time.perf_counter()
            first_token = first_token or last_token
            cache.tokens.append(token)
            if delta := reply.add(token):
                first_text = first_text or last_token
                yield TextDelta(delta)
        reply.close()
        yield Finished(
            reason,  # type: ignore[arg-type]
            Usage(prompt=total, cached=cached, completion=len(reply.ids)),
            Timings(
                prefill=prefilled - began,
                ttft=(first_text or time.perf_counter()) - began,
                decode=last_token - first_token,
            ),
        )

    def _new_reply(self, continued_text: str = "") -> GrowingReply:
        return GrowingReply(self._tokenizer.create_stream().decode, self.codec, continued_text)

    def _compute(self, cache: Cache, prompt: list[int], stopped: Callable[[], bool]) -> Iterator[int]:
        """Compute the rest of a prompt in chunks until stopped; yield the number of tokens cached."""
        while len(cache.tokens) < len(prompt) and not stopped():
            computed = len(cache.tokens)
            size = (
                self._pace.size - 1 if len(prompt) - computed == self._pace.size + 1 else self._pace.size
            )  # see _MIN_CHUNK
            chunk = prompt[computed : computed + size]
            began = time.perf_counter()
            cache.generator.append_tokens(chunk)
            self._pace.record(len(chunk), time.perf_counter() - began)
            cache.tokens += chunk
            cache.ready = True
            yield len(cache.tokens)

    def _prepare(self, sampling: Sampling, prompt: list[int]) -> tuple[Cache, int]:
        """Rewind a generator to where the prompt diverges; return it and the number of tokens reused."""
        options = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
        }
        # A seed is read only when a generator is created, so a repeatable reply starts from an empty cache.
        repeatable = sampling.seed is not None and sampling.temperature > 0
        self._seed = sampling.seed if repeatable else None
        if sampling.temperature > 0:  # otherwise the likeliest token wins whatever top_k is
            self._top_k = sampling.top_k
        cache = self._caches.take(prompt, fresh=repeatable, created_for=(self._top_k, self._seed))
        cache.params.set_search_options(**options)
        return cache, self._cut(cache, prompt)

    @staticmethod
    def _cut(cache: Cache, prompt: Sequence[int]) -> int:
        """Drop the tokens the prompt does not share; return how many remain."""
        if cache.ready and cache.tokens == prompt:
            return len(prompt)
        # Something must be appended, or there are no logits to sample the first token from.
        common = min(common_prefix(cache.tokens, prompt), max(len(prompt) - _MIN_CHUNK, 0))
        if not cache.ready:  # the last token was sampled but not computed; appending to it as is gives wrong output
            common = min(common, max(len(cache.tokens) - 1, 0))
        if common < len(cache.tokens):
            cache.generator.rewind_to(common)
            del cache.tokens[common:]
            cache.ready = False
        return common

    def _make_generator(self) -> tuple[Any, Any]:
        params = og.GeneratorParams(self._model)
        params.set_search_options(
            **self._search(self._top_k),
            max_length=self._context.tokens,
            random_seed=random.randrange(2**31) if self._seed is None else self._seed,
        )
        return og.Generator(self._model, params), params

    def _search(self, top_k: int) -> dict[str, Any]:
        """Return a generator's search options; changing `top_k` on a live one yields garbage."""
        return {**SEARCH, "top_k": min(top_k, self._vocabulary)}

    def _drop(self) -> None:
        self._caches.drop()
