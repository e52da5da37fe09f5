"""The onnxruntime-genai loop, and the only importer of that library.

Everything here blocks and holds the GIL for as long as the library computes, so it runs in the worker process (or in a
process that has nothing else to do, such as MLflow scoring). One generator is kept for as long as possible: a new
prompt is compared with the tokens that are already computed, the KV cache is rewound to where they part, and only the
rest is computed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from edgechat.chat.conversation import Message
from edgechat.engine import sizing
from edgechat.engine.base import Event, Finished, ModelInfo, Progress, Request, Sampling, TextDelta, Timings, Usage
from edgechat.engine.common import (
    PREFILL_CHUNK,
    TOP_K,
    VERIFY,
    choose_form,
    common_prefix,
    fit,
    load_error,
    run_error,
    short,
)
from edgechat.engine.tokens import TokenCodec
from edgechat.errors import EngineError, ModelError


class GenaiModel:
    """A loaded model and its one generator.

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
    ) -> None:
        """Load an ONNX GenAI folder.

        Args:
            folder: Holds genai_config.json, the ONNX file and the tokenizer.
            name: What to call the model; the folder's name by default.
            context: Tokens wanted; None is what the model and the free memory allow.
            threads: Threads of the computation; None is one per physical core.
            spinning: Whether computing threads spin while they wait: faster on an idle machine, slower on a busy one.

        Raises:
            ModelError: The folder cannot be loaded; the message holds the library's own words.
        """
        began = time.perf_counter()
        count = threads or sizing.threads()
        config_path = folder / "genai_config.json"
        try:
            config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError("Model cannot be read", f"{config_path}: {short(error)}.", VERIFY) from error
        self.codec = TokenCodec(folder)
        options: dict[str, Any] = {"intra_op_num_threads": count, "inter_op_num_threads": 1, "log_severity_level": 4}
        if not spinning:
            options["session.intra_op.allow_spinning"] = "0"
        try:
            settings = og.Config(str(folder))
            settings.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
            self._model = og.Model(settings)
            self._tokenizer = og.Tokenizer(self._model)
        except Exception as error:  # the library raises RuntimeError and bare Exception alike
            raise load_error(folder, error) from error
        sizing.return_unneeded_memory(folder)
        self._eos = frozenset(int(token) for token in self._tokenizer.eos_token_ids)
        self.form = choose_form(self._render, self.codec.controls)
        self._context = sizing.settle_context(config, context, sizing.available_memory())
        self._leading_space = self.codec.prepends_space
        self._generator: Any = None
        self._params: Any = None
        self._held: list[int] = []
        self.info = ModelInfo(
            name=name or folder.name,
            architecture=str(config.get("model", {}).get("type", "")),
            form=self.form.name,
            context=self._context.tokens,
            model_context=int(config.get("model", {}).get("context_length") or 0),
            context_reason=self._context.reason,
            threads=count,
            load_seconds=time.perf_counter() - began,
        )

    def _render(self, messages: list[dict[str, str]], reply: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=reply)
        return rendered

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the prompt that asks for the next reply."""
        return self.codec.encode(self.form.pieces(messages))

    def generate(self, request: Request, stopped: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Write one reply.

        Args:
            request: The conversation and how to sample.
            stopped: Asked between chunks and tokens; True ends the reply with what has come.

        Yields:
            Progress for prompts of more than one chunk, TextDelta, and Finished at last.

        Raises:
            EngineError: The prompt does not fit, or the library failed; the KV cache is then given up.
        """
        began = time.perf_counter()
        prompt, limit = fit(request, self._context.tokens, self.encode)
        try:
            yield from self._run(request.sampling, prompt, limit, stopped, began)
        except EngineError:
            raise
        except Exception as error:
            self._drop()
            raise run_error(error) from error

    def _run(
        self, sampling: Sampling, prompt: list[int], limit: int, stopped: Callable[[], bool], began: float
    ) -> Iterator[Event]:
        cached = self._prepare(sampling, prompt)
        held, generator = self._held, self._generator
        total = len(prompt)
        cancelled = False
        while len(held) < total:
            if stopped():
                cancelled = True
                break
            chunk = prompt[len(held) : len(held) + PREFILL_CHUNK]
            generator.append_tokens(chunk)
            held += chunk
            if total - cached > PREFILL_CHUNK:
                yield Progress("prefill", len(held) - cached, total - cached)
        prefilled = time.perf_counter()
        first_text = first_token = last_token = 0.0
        stream = self._tokenizer.create_stream()
        reply: list[int] = []
        text: list[str] = []
        reason = "cancelled" if cancelled else "length"
        while not cancelled and len(reply) < limit:
            if stopped():
                reason = "cancelled"
                break
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._eos:
                # The end token is neither in the sequence nor in the KV cache; the next prompt brings it.
                reason = "stop"
                break
            last_token = time.perf_counter()
            first_token = first_token or last_token
            reply.append(token)
            held.append(token)
            delta = stream.decode(token)
            if delta and not text and self._leading_space:
                delta = delta.removeprefix(" ")
            if delta:
                first_text = first_text or last_token
                text.append(delta)
                yield TextDelta(delta)
        if reply:
            self.codec.remember("".join(text), reply)
        yield Finished(
            reason,  # type: ignore[arg-type]
            Usage(prompt=total, cached=cached, completion=len(reply)),
            Timings(
                prefill=prefilled - began,
                ttft=(first_text or time.perf_counter()) - began,
                decode=last_token - first_token,
            ),
        )

    def _prepare(self, sampling: Sampling, prompt: list[int]) -> int:
        """Bring the generator to where the prompt leaves what it holds; return how many tokens that is."""
        options = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
        }
        # A seed is read only when a generator is made, so a repeatable reply starts from an empty cache.
        if self._generator is None or (sampling.seed is not None and sampling.temperature > 0):
            self._drop()
            self._params = og.GeneratorParams(self._model)
            self._params.set_search_options(
                do_sample=True,
                top_k=TOP_K,  # changing it on a live generator yields garbage
                max_length=self._context.tokens,
                random_seed=random.randrange(2**31) if sampling.seed is None else sampling.seed,
                # A generator made at temperature 0 or without top_p never honours them later; one made with both does,
                # and is greedy at temperature 0.
                temperature=1.0,
                top_p=0.9,
            )
            self._generator = og.Generator(self._model, self._params)
        self._params.set_search_options(**options)
        # At least one token must be appended, or there would be no logits to choose the first token from.
        common = min(common_prefix(self._held, prompt), len(prompt) - 1)
        if common < len(self._held):
            self._generator.rewind_to(common)
            del self._held[common:]
        return common

    def _drop(self) -> None:
        self._generator = self._params = None
        self._held = []
