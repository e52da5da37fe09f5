"""Several replies at once: rows of one batch share every read of the weights.

onnxruntime-genai accepts input for a batch only once and picks the first tokens from the logits of the last column.
Prompts in a batch differ in length, so the shorter ones are padded on the right, where the KV cache later overwrites
the padding. Each row's real last token is then fed in as if it had been sampled, which puts every row at its true
position. A batch cannot be resumed, so chats, whose turns build on one another, are generated one at a time.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

from edgechat.engine.detokenizer import GrowingReply
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.protocol import Finished, Request, Timings, Usage
from edgechat.engine.stop_sequences import StopStrings

ROWS = 8
"""Maximum rows per batch; beyond this, each extra row costs almost as much per token as a batch of its own."""

PROMPT_TOKENS = 1024
"""Maximum prompt tokens per batch, padding included: one call computes them all and returns logits for each."""

_CHOSEN = 1e4


class BatchWriter:
    """Generates replies in batches on a loaded model.

    Each batch gets a generator of its own, which is discarded afterwards.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos: frozenset[int],
        padding: int | None,
        context: int,
        options: Callable[[int], dict[str, Any]],
        new_reply: Callable[[], GrowingReply],
    ) -> None:
        """Set up without computing anything.

        Args:
            model: The `og.Model`, loaded with `padding` as its padding token.
            eos: Tokens that end a reply.
            padding: A padding token that occurs in no prompt; None if there is none, which limits every batch to one
                row.
            context: Total tokens for all rows together: a batch gets the memory of one chat.
            options: Returns the search options for a given `top_k`.
            new_reply: Creates an empty reply.
        """
        self._model = model
        self._eos = eos
        self._padding = padding
        self._context = context
        self._options = options
        self._new_reply = new_reply

    def split(
        self, rows: Sequence[int], prompts: Sequence[Sequence[int]], requests: Sequence[Request]
    ) -> Iterator[list[int]]:
        """Group rows into batches of at least two; rows that fit no batch are left out.

        Args:
            rows: Indexes into `prompts` and `requests`, sorted by prompt length.
            prompts: Token ids of each prompt.
            requests: Used for `max_tokens`; a row without a limit needs the whole context to itself.
        """
        batch: list[int] = []
        most = 0
        for row in rows:
            limit = requests[row].max_tokens
            if self._padding is None or limit is None or len(prompts[row]) < 2:
                continue
            longest = len(prompts[row])  # in this batch, because the rows are sorted
            size = len(batch) + 1
            fits = size * longest <= PROMPT_TOKENS and size * (longest + max(most, limit)) <= self._context
            if batch and (size > ROWS or not fits):
                if len(batch) > 1:
                    yield batch
                batch, most = [], 0
            batch.append(row)
            most = max(most, limit)
        if len(batch) > 1:
            yield batch

    def write(self, prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> list[tuple[str, Finished]]:
        """Generate a reply to each prompt.

        Args:
            prompts: Token ids, of shape [rows][prompt length], at least two per prompt.
            requests: One per prompt, all with the same sampling and all with `max_tokens`.

        Returns:
            The text of each reply and its final event.
        """
        began = time.perf_counter()
        rows = [_Row(self._new_reply(), request) for request in requests]
        generator = self._prefilled(prompts, requests)
        prefilled = time.perf_counter()
        while not all(row.reason for row in rows):
            generator.generate_next_token()
            now = time.perf_counter()
            for row, token in zip(rows, generator.get_next_tokens(), strict=True):
                row.add(int(token), self._eos, now)
        return [
            row.finished(len(prompt), began=began, prefilled=prefilled)
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def _prefilled(self, prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> Any:
        """Return a generator that has computed every prompt but sampled nothing yet."""
        longest = max(len(prompt) for prompt in prompts)
        sampling = requests[0].sampling
        params = og.GeneratorParams(self._model)
        params.set_search_options(
            **self._options(sampling.top_k),
            batch_size=len(prompts),
            max_length=longest + 1 + max(request.max_tokens or 0 for request in requests),
            random_seed=random.randrange(2**31),
        )
        generator = og.Generator(self._model, params)
        params.set_search_options(
            temperature=sampling.temperature, top_p=sampling.top_p, repetition_penalty=sampling.repetition_penalty
        )
        filled = np.full((len(prompts), longest - 1), self._padding, dtype=np.int32)
        for row, prompt in enumerate(prompts):
            filled[row, : len(prompt) - 1] = prompt[:-1]
        generator.append_tokens(filled)
        logits = np.full(generator.get_logits().shape, -_CHOSEN, dtype=np.float32)  # [rows, 1, vocabulary]
        for row, prompt in enumerate(prompts):
            logits[row, 0, prompt[-1]] = _CHOSEN
        generator.set_logits(logits)
        generator.generate_next_token()
        return generator


class _Row:
    """One reply of a batch; `reason` is empty until it ends."""

    def __init__(self, reply: GrowingReply, request: Request) -> None:
        self._reply = reply
        self._limit = request.max_tokens
        self._watch = StopStrings(request.stop)
        self._texts: list[str] = []
        self._first_text = self._first = self._last = 0.0
        self.reason = ""

    def add(self, token: int, eos: frozenset[int], now: float) -> None:
        """Add the token sampled for this row."""
        if self.reason:
            return
        if token in eos:
            self._end("stop")
            return
        self._last = now
        self._first = self._first or now
        if delta := self._reply.add(token):
            self._first_text = self._first_text or now
            self._texts.append(self._watch.feed(delta))
        if self._watch.hit:
            self._end("stop")
        elif len(self._reply.ids) == self._limit:
            self._end("length")

    def _end(self, reason: str) -> None:
        self.reason = reason
        self._texts.append(self._watch.flush())
        self._reply.close()

    def finished(self, prompt: int, *, began: float, prefilled: float) -> tuple[str, Finished]:
        """Return the text and the final event; `prompt` is the prompt's length in tokens."""
        return "".join(self._texts), Finished(
            self.reason,  # type: ignore[arg-type]
            Usage(prompt=prompt, cached=0, completion=len(self._reply.ids)),
            Timings(
                prefill=prefilled - began,
                ttft=(self._first_text or time.perf_counter()) - began,
                decode=self._last - self._first,
            ),
        )


def choose_padding(folder: Path, config: dict[str, Any], codec: TokenCodec) -> int | None:
    """Choose a padding token that occurs in no prompt and ends no reply.

    The library ignores the padding token of genai_config.json wherever it occurs, and many models name one that every
    prompt contains, such as the end-of-turn token.

    Returns:
        The token id, or None if every token may occur in a prompt or if the graph takes `position_ids` as an input,
        since positions would then count the padding.
    """
    model = config.get("model", {})
    if "position_ids" in model.get("decoder", {}).get("inputs", {}):
        return None
    size = int(model.get("vocab_size") or 0)
    if size > codec.vocabulary:
        return size - 1
    template = ""
    for file in ("tokenizer_config.json", "chat_template.jinja"):
        with contextlib.suppress(OSError):
            template += (folder / file).read_text(encoding="utf-8", errors="replace").partition("chat_template")[2]
    ends = model.get("eos_token_id", ())
    named = {model.get("bos_token_id"), *(ends if isinstance(ends, list) else [ends])}
    unused = (token for name, token in codec.control_ids.items() if name not in template and token not in named)
    return next(unused, None)
