"""Several replies at once: rows of one batch share every read of the weights.

onnxruntime-genai appends to a batch once only, and chooses the first tokens by the logits of the last column. Prompts
of one batch are of different lengths, so they are filled up on the right, where the KV cache overwrites what fills
them; each row's last token is then brought in as if it had been chosen, and from there on every row is where it should
be. A batch cannot be taken up again: chats, whose turns follow one another, are written one by one.
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
"""Replies of one batch: with more, each token costs nearly what it costs in a batch of its own."""

PROMPT_TOKENS = 1024
"""Tokens of all prompts of a batch, filled up: one call computes them, and keeps logits for each."""

_CHOSEN = 1e4


class BatchWriter:
    """Writes batches on a loaded model.

    A batch's generator is made for it and given up after it.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos: frozenset[int],
        filler: int | None,
        context: int,
        options: Callable[[int], dict[str, Any]],
        opened_reply: Callable[[], GrowingReply],
    ) -> None:
        """Nothing is computed yet.

        Args:
            model: The `og.Model`, loaded with `filler` as its padding.
            eos: Tokens that end a reply.
            filler: A token that is in no prompt, to fill up the shorter ones; None where there is none, which makes
                every batch one row.
            context: Tokens all rows together may hold: the memory for one chat is enough for a batch.
            options: Search options every generator is made with, for a `top_k`.
            opened_reply: Begins a reply.
        """
        self._model = model
        self._eos = eos
        self._filler = filler
        self._context = context
        self._options = options
        self._opened_reply = opened_reply

    def split(
        self, rows: Sequence[int], prompts: Sequence[Sequence[int]], requests: Sequence[Request]
    ) -> Iterator[list[int]]:
        """Batches of two rows at least; what is left out does not fit into any.

        Args:
            rows: Indexes into the other two, by the length of their prompts.
            prompts: Ids.
            requests: For their `max_tokens`: a row without it wants the context to itself.
        """
        batch: list[int] = []
        most = 0
        for row in rows:
            limit = requests[row].max_tokens
            if self._filler is None or limit is None or len(prompts[row]) < 2:
                continue
            longest = len(prompts[row])  # of this batch, for they are sorted
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
        """Write a reply to each prompt.

        Args:
            prompts: Ids, of shape [rows][its own length], two at least each.
            requests: What belongs to each; all of one sampling, all with `max_tokens`.

        Returns:
            The text and the end of each reply.
        """
        began = time.perf_counter()
        rows = [_Row(self._opened_reply(), request) for request in requests]
        generator = self._prefilled(prompts, requests)
        prefilled = time.perf_counter()
        while not all(row.reason for row in rows):
            generator.generate_next_token()
            now = time.perf_counter()
            for row, token in zip(rows, generator.get_next_tokens(), strict=True):
                row.take(int(token), self._eos, now)
        return [
            row.finished(len(prompt), began=began, prefilled=prefilled)
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def _prefilled(self, prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> Any:
        """A generator that has computed every prompt and chosen nothing yet."""
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
        filled = np.full((len(prompts), longest - 1), self._filler, dtype=np.int32)
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
        self._shown: list[str] = []
        self._first_text = self._first = self._last = 0.0
        self.reason = ""

    def take(self, token: int, eos: frozenset[int], now: float) -> None:
        """Take the token that was chosen for this row."""
        if self.reason:
            return
        if token in eos:
            self._end("stop")
            return
        self._last = now
        self._first = self._first or now
        if delta := self._reply.add(token):
            self._first_text = self._first_text or now
            self._shown.append(self._watch.feed(delta))
        if self._watch.hit:
            self._end("stop")
        elif len(self._reply.ids) == self._limit:
            self._end("length")

    def _end(self, reason: str) -> None:
        self.reason = reason
        self._shown.append(self._watch.rest())
        self._reply.close()

    def finished(self, prompt: int, *, began: float, prefilled: float) -> tuple[str, Finished]:
        """The text, and the end with its usage and timings; the prompt was of that many tokens."""
        return "".join(self._shown), Finished(
            self.reason,  # type: ignore[arg-type]
            Usage(prompt=prompt, cached=0, completion=len(self._reply.ids)),
            Timings(
                prefill=prefilled - began,
                ttft=(self._first_text or time.perf_counter()) - began,
                decode=self._last - self._first,
            ),
        )


def choose_filler(folder: Path, config: dict[str, Any], codec: TokenCodec) -> int | None:
    """A token that is in no prompt and ends no reply, for the shorter rows of a batch.

    The engine leaves the padding token of genai_config.json out of account wherever it stands, and many models name one
    that every prompt has, such as the end of a turn.

    Returns:
        None where every token may be in a prompt, or where positions are an input of the graph: they would be counted
        with what is filled in.
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
