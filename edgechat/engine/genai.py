"""The onnxruntime-genai loop, and the only importer of that library.

Everything here blocks and holds the GIL for as long as the library computes, so it runs in the worker process (or in a
process that has nothing else to do, such as MLflow scoring). Generators are kept for as long as possible: a new prompt
is compared with the tokens that are already computed, the KV cache is rewound to where they part, and only the rest is
computed.
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
from edgechat.engine.batch import BatchWriter, choose_filler
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
    fit,
    known_ahead,
    load_error,
    run_error,
    short,
    show,
    written,
)
from edgechat.errors import EdgechatError, ModelError

SEARCH = {
    "do_sample": True,
    # A generator made at temperature 0 or without top_p never honours them later; one made with both does, and is
    # greedy at temperature 0.
    "temperature": 1.0,
    "top_p": 0.9,
}
"""What every generator is made with."""

_FEWEST = 2
"""The least tokens of a prompt that are computed in one go. One alone is computed by another kernel, on activations
rounded to 8 bits: where two words are nearly as likely the other one may win, and a question asked again would be
answered differently. Two give the same logits as any other number, bit by bit."""


class GenaiModel:
    """A loaded model and its generators, one unless more may be kept.

    Attributes:
        info: What the model is and how much it may hold.
        codec: Text to ids, the model's own way.
        form: The prompt form in use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        context: int | None = None,
        threads: int | None = None,
        spinning: bool = True,
        kept_bytes: int | None = 0,
    ) -> None:
        """Load an ONNX GenAI folder.

        Args:
            folder: Holds genai_config.json, the ONNX file and the tokenizer.
            name: What to call the model; the folder's name by default.
            context: Tokens wanted; None is what the model and the free memory allow.
            threads: Threads of the computation; None is one per physical core.
            spinning: Whether computing threads spin while they wait: faster on an idle machine, slower on a busy one.
            kept_bytes: Bytes that chats beside the one being held may take to stay computed; None is some of what is
                free.

        Raises:
            ModelError: The folder cannot be loaded; the message holds the library's own words.
        """
        began = time.perf_counter()
        count = threads or resources.threads()
        config_path = folder / "genai_config.json"
        try:
            config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError("Model cannot be read", f"{config_path}: {short(error)}.", VERIFY) from error
        self._folder = folder
        self.codec = TokenCodec(folder)
        filler = choose_filler(folder, config, self.codec)
        overlay = model_overlay(config.get("model", {}), session_options(count, spinning=spinning))
        if filler is not None:
            overlay["pad_token_id"] = filler
        try:
            settings = og.Config(str(folder))
            settings.overlay(json.dumps({"model": overlay}))
            self._model = og.Model(settings)
            self._tokenizer = og.Tokenizer(self._model)
        except Exception as error:  # the library raises RuntimeError and bare Exception alike
            raise load_error(folder, error) from error
        resources.return_unneeded_memory(folder)
        self._eos = frozenset(int(token) for token in self._tokenizer.eos_token_ids)
        self.form = choose_form(self._render, self.codec.controls)
        self._context = resources.settle_context(config, context, resources.available_memory())
        kv = resources.kv_bytes_per_token(config) * self._context.tokens
        self._caches = RecentCaches(
            self._make_generator,
            most=resources.kept_chats(kv, resources.available_memory(), kept_bytes),
            # Other programs may have taken it since.
            room=lambda: resources.available_memory() > kv + resources.RESERVE,
        )
        self._pace = Pace()
        self._ahead: tuple[tuple[Message, ...], list[int]] | None = None
        self._seed: int | None = None
        self._top_k = Sampling().top_k
        self._vocabulary = int(config.get("model", {}).get("vocab_size") or self.codec.vocabulary)
        self._batch = BatchWriter(
            self._model,
            eos=self._eos,
            filler=filler,
            context=self._context.tokens,
            options=self._search,
            opened_reply=self._opened_reply,
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
            cliff=resources.cliff(config, self._context.tokens),
            kept_chats=self._caches.most,
        )

    def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """See `LoadedModel.fingerprint`."""
        self._drop()  # its KV cache and this one would be two

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
        """Ids of the prompt that asks for the next reply, or for more of the assistant's last message."""
        if self._ahead is not None and self._ahead[0] == tuple(messages):
            return [*self._ahead[1]]
        return self.codec.encode(prompt_pieces(self.form, messages))

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """See `LoadedModel.prompt`."""
        return show(
            self.codec, self.form, messages, self._caches.held(), fewest=_FEWEST, ready=self._caches.held(ready=True)
        )

    def prefill(
        self,
        messages: Sequence[Message],
        stopped: Callable[[], bool] = lambda: False,
        top_k: int | None = None,
    ) -> Iterator[int]:
        """See `LoadedModel.prefill`."""
        prompt, whole = known_ahead(self.encode, messages), bool(messages[-1].content)
        if len(prompt) >= self._context.tokens:
            return
        if whole:  # it is soon sent, and encoding a long chat would be most of what is left to do
            self._ahead = tuple(messages), prompt
        self._seed = None
        self._top_k = top_k or self._top_k
        try:
            cache = self._caches.take(prompt, ahead=True, made_for=(self._top_k, None))
            if not whole and common_prefix(cache.tokens, prompt) > len(prompt) - _FEWEST:
                return
            cached = self._cut(cache, prompt)
            for held in self._compute(cache, prompt, stopped):
                yield held - cached
        except Exception as error:
            self._drop()
            raise run_error(error) from error

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Write one reply.

        Args:
            request: The conversation and how to sample.
            stopped: Asked between chunks and tokens; True ends the reply with what has come.

        Yields:
            Progress for prompts of more than one chunk, TextDelta, and Finished at last.

        Raises:
            RequestError: The prompt does not fit.
            EngineError: The library failed; the KV cache is then given up.
        """
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self.encode)
        self._ahead = None  # of this reply other ids may be remembered
        yield from self._write(prompt, limit, request, stopped, began)

    def complete(self, request: Request) -> Iterator[Event]:
        """Continue one message's text as it stands, in which control tokens count as such.

        For a prompt that is in the model's form already, never for what a person types into a chat: it could steer the
        model. For the rest see `generate`.
        """
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self._encode_form)
        yield from self._write(prompt, limit, request, lambda: False, began)

    def _encode_form(self, messages: Sequence[Message]) -> list[int]:
        text = "".join(message.content for message in messages)
        return self.codec.encode(tuple(split_controls(text, self.codec.controls)))

    def generate_batch(self, requests: Sequence[Request]) -> list[tuple[str, Finished]]:
        """Write a reply to each request, several at a time where that is faster and changes nothing.

        Requests with a seed are written one by one, as `generate` would. Rows of one batch are computed by other
        kernels than single ones, on activations rounded to 8 bits: where two words are nearly as likely either may win.

        Returns:
            The text and the end of each reply, in order.

        Raises:
            RequestError: A prompt does not fit; nothing was written then.
            EngineError: See `generate`.
        """
        fitted = [fit(request, self._context.tokens, self.encode) for request in requests]
        prompts = [prompt for prompt, _ in fitted]
        replies: list[tuple[str, Finished] | None] = [None] * len(requests)
        for rows in self._batches(requests, prompts):
            self._drop()  # its KV cache and the batch's would be two
            try:
                written = self._batch.write([prompts[row] for row in rows], [requests[row] for row in rows])
            except Exception as error:
                raise run_error(error) from error
            for row, reply in zip(rows, written, strict=True):
                replies[row] = reply
        for row, request in enumerate(requests):
            if replies[row] is None:
                events = self._write(*fitted[row], request, lambda: False, time.perf_counter())
                replies[row] = collect(events)
        return [reply for reply in replies if reply is not None]

    def _batches(self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Rows that can be written together: of one sampling, without a seed, of about one length."""
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
        run = partial(self._run, request.sampling, prompt, limit, request.begun, began)
        yield from written(run, request, stopped, self._drop)

    def _run(
        self, sampling: Sampling, prompt: list[int], limit: int, begun: str, began: float, stopped: Callable[[], bool]
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
        reply = self._opened_reply(begun)
        reason = "cancelled" if cancelled else "length"
        while not cancelled and len(reply.ids) < limit:
            if stopped():
                reason = "cancelled"
                break
            cache.ready = False
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._eos:
                # The end token is neither in the sequence nor in the KV cache; the next prompt brings it.
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

    def _opened_reply(self, begun: str = "") -> GrowingReply:
        return GrowingReply(self._tokenizer.create_stream().decode, self.codec, begun)

    def _compute(self, cache: Cache, prompt: list[int], stopped: Callable[[], bool]) -> Iterator[int]:
        """Compute the rest of a prompt chunk by chunk, unless stopped; yield how many of its tokens are held."""
        while len(cache.tokens) < len(prompt) and not stopped():
            held = len(cache.tokens)
            size = self._pace.size - 1 if len(prompt) - held == self._pace.size + 1 else self._pace.size  # see _FEWEST
            chunk = prompt[held : held + size]
            began = time.perf_counter()
            cache.generator.append_tokens(chunk)
            self._pace.note(len(chunk), time.perf_counter() - began)
            cache.tokens += chunk
            cache.ready = True
            yield len(cache.tokens)

    def _prepare(self, sampling: Sampling, prompt: list[int]) -> tuple[Cache, int]:
        """Bring a generator to where the prompt leaves what it holds; return it and how many tokens that is."""
        options = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
        }
        # A seed is read only when a generator is made, so a repeatable reply starts from an empty cache.
        repeatable = sampling.seed is not None and sampling.temperature > 0
        self._seed = sampling.seed if repeatable else None
        if sampling.temperature > 0:  # else the likeliest token is the same among any number of them
            self._top_k = sampling.top_k
        cache = self._caches.take(prompt, fresh=repeatable, made_for=(self._top_k, self._seed))
        cache.params.set_search_options(**options)
        return cache, self._cut(cache, prompt)

    @staticmethod
    def _cut(cache: Cache, prompt: Sequence[int]) -> int:
        """Take back what the prompt does not share; return how many tokens are left."""
        if cache.ready and cache.tokens == prompt:
            return len(prompt)
        # Something must be appended, or there would be no logits to choose the first token from.
        common = min(common_prefix(cache.tokens, prompt), max(len(prompt) - _FEWEST, 0))
        if not cache.ready:  # the last token was only chosen; what is appended to it as it is comes out wrong
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
        """What a generator is made with; changing `top_k` on a live one yields garbage."""
        return {**SEARCH, "top_k": min(top_k, self._vocabulary)}

    def _drop(self) -> None:
        self._caches.drop()
