"""A numeric fingerprint of a model's predictions: taken when it is packaged, compared where it runs.

Intact files do not guarantee correct results: a faulty kernel on some processor can still compute the wrong numbers,
and only the numbers show it. The measure is the Kullback-Leibler divergence of the next-token distribution in nats,
averaged over several positions of a fixed text. The likeliest tokens count individually, all others as one; merging
them can only reduce the divergence, and it avoids storing the whole vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgechat.errors import EngineError
from edgechat.i18n.sentence import Sentence

FINGERPRINT = "edgechat-fingerprint.json"
"""File name inside the ONNX GenAI folder. Like every file, it is listed in the manifest with its digest."""

TEXT = (
    'The quick brown fox, 17 of them (or 3.14?), said: "Wait!" In Paris, the capital of France, people speak French; '
    "def f(x): return x + 1. Naïve café, 東京. One two three four five six seven."
)
"""Prose, numbers, code, accents and another script, so that a wrong tokenizer splits it differently."""

BOUND = 0.012
"""The largest distance, in nats, that rounding explains.

Kernels round activations to 8 bits in different ways. Measured with the default model: correct kernels (x86 with and
without AVX-512, Arm with and without dot product) are 0.003 to 0.007 from float32 and from one another; Arm's faulty
KleidiAI kernel is 0.022 to 0.027 away. Models that round more record their own `noise`, and twice that is allowed.
"""

_STEPS = 12
_STEP = (3, 1)
"""Tokens computed in one call, then one alone, since these use different kernels. Logits are read after each."""

_LIKELIEST = 16
_LEAST = 1e-9
_LARGEST = 1_000_000


class Fingerprint(msgspec.Struct, frozen=True, tag="fingerprint"):
    """Attributes:
    ids: The tokens of `TEXT`.
    tokens: The likeliest next tokens at each position.
    logs: Their log-probabilities, in the same order.
    noise: Distance in nats between two kernels on the machine that took it.
    """  # noqa: D205

    ids: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    logs: tuple[tuple[float, ...], ...]
    noise: float = 0.0

    @property
    def bound(self) -> float:
        """The largest distance, in nats, at which another machine's numbers count as the same."""
        return max(BOUND, 2 * self.noise)


def distance(reference: Fingerprint, found: Fingerprint) -> float:
    """Return how far `found` is from `reference`, in nats; both must cover the same tokens."""
    pairs = list(zip(reference.logs, found.logs, strict=True))
    return sum(_divergence(right, other) for right, other in pairs) / len(pairs)


def _divergence(right: Sequence[float], other: Sequence[float]) -> float:
    rest = [max(_LEAST, 1 - sum(map(math.exp, each))) for each in (right, other)]
    likeliest = sum(math.exp(p) * (p - q) for p, q in zip(right, other, strict=True))
    return likeliest + rest[0] * math.log(rest[0] / rest[1])


def take(folder: Path, make_generator: Callable[[int], Any], reference: Fingerprint | None = None) -> Fingerprint:
    """Take a loaded model's fingerprint.

    Args:
        folder: The model folder.
        make_generator: Makes an onnxruntime-genai generator for a given number of tokens.
        reference: The fingerprint to compare with, which determines the tokens to record. None takes a new one of the
            likeliest tokens, and computes twice to measure the effect of rounding.

    Raises:
        EngineError: The tokenizer differs from the reference's, the model's output is not finite, or the text has too
            few tokens in this model.
    """
    ids = _encode(folder)
    if reference is not None:
        if ids != reference.ids:
            raise EngineError(
                "The tokenizer is not the model's",
                "It splits a text into other tokens than it did when the model was packaged.",
                _AGAIN,
            )
        rows = list(_rows(make_generator, ids, _STEP * (len(reference.tokens) // len(_STEP))))
        _require_numbers(rows)
        return _record(ids, rows, reference.tokens)
    steps = min(_STEPS, len(ids) // sum(_STEP))
    if not steps:
        raise EngineError(
            "No fingerprint", Sentence("The model's tokenizer makes {ids} tokens of a whole sentence.", ids=len(ids))
        )
    rows = list(_rows(make_generator, ids, _STEP * steps))
    _require_numbers(rows)
    found = _record(ids, rows, [_likeliest(row) for row in rows])
    alone = slice(len(_STEP) - 1, None, len(_STEP))  # positions of the tokens computed alone
    once = Fingerprint(ids, found.tokens[alone], found.logs[alone])
    again = _record(ids, list(_rows(make_generator, ids, (sum(_STEP),) * steps)), once.tokens)
    return msgspec.structs.replace(found, noise=round(distance(once, again), 4))


def _encode(folder: Path) -> tuple[int, ...]:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise EngineError("No fingerprint", Sentence("The tokenizer cannot be read: {error}.", error=error)) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tuple(tokenizer.encode(TEXT).ids)


def _rows(make_generator: Callable[[int], Any], ids: Sequence[int], sizes: Sequence[int]) -> Iterator[Any]:
    """Yield the log-probabilities of the next token after each piece of the text."""
    import numpy as np

    generator = make_generator(sum(sizes) + 1)
    done = 0
    for size in sizes:
        generator.append_tokens(list(ids[done : done + size]))
        done += size
        logits = np.asarray(generator.get_logits(), np.float64)
        row = logits.reshape(-1, logits.shape[-1])[-1]
        with np.errstate(invalid="ignore"):
            row = row - row.max()
            yield row - np.log(np.exp(row).sum())


def _require_numbers(rows: Sequence[Any]) -> None:
    """Raise unless the predictions are finite and vary, as those of any working model do."""
    import numpy as np

    if not all(np.isfinite(row).all() for row in rows):
        raise EngineError("The model computes no numbers", "Its predictions are infinite or not numbers.", _AGAIN)
    if any(np.ptp(row) == 0 for row in rows):
        raise EngineError("The model predicts nothing", "To it every next word is as likely as any other.", _AGAIN)
    if all(np.array_equal(row, rows[0]) for row in rows[1:]):
        raise EngineError("The model does not read", "Its predictions are the same after whatever text.", _AGAIN)


_AGAIN = "Copy the model again from where it came; `edgechat models verify NAME` says whether its files are whole."


def _likeliest(row: Any) -> tuple[int, ...]:
    return tuple(int(token) for token in row.argsort()[::-1][:_LIKELIEST])


def _record(ids: tuple[int, ...], rows: Sequence[Any], tokens: Sequence[tuple[int, ...]]) -> Fingerprint:
    try:
        logs = tuple(
            tuple(round(float(row[token]), 4) for token in chosen) for row, chosen in zip(rows, tokens, strict=True)
        )
    except IndexError as error:
        raise EngineError("Model is another one", "Its vocabulary is smaller than when it was packaged.") from error
    return Fingerprint(ids, tuple(tokens), logs)


def unsupported() -> EngineError:
    """Return the error for a kind of model that has no fingerprint."""
    return EngineError("No fingerprint", "Only models that onnxruntime-genai runs have one.")


def check(reference: Fingerprint, found: Fingerprint) -> float:
    """Return the distance in nats. Raises EngineError if it exceeds the bound."""
    divergence = distance(reference, found)
    if not divergence <= reference.bound:  # also true of NaN
        raise EngineError(
            "The model computes wrong",
            Sentence(
                "Its predictions lie {divergence} from those it was packaged with; rounding explains up to {bound}.",
                divergence=f"{divergence:.4f}",
                bound=f"{reference.bound:.4f}",
            ),
            "If `edgechat models verify NAME` finds its files whole, this processor computes wrong: do not rely on "
            "what the model says here.",
        )
    return divergence


def read(folder: Path) -> Fingerprint | None:
    """Read the fingerprint of a model folder; None if it has none.

    Raises:
        EngineError: The fingerprint exists but is unusable.
    """
    path = folder / FINGERPRINT
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is far too large")
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EngineError(
            "Fingerprint is damaged", Sentence("{path}: {error}.", path=path, error=error), _AGAIN
        ) from error


def parse(raw: bytes) -> Fingerprint:
    """Parse the file's content. Raises ValueError."""
    found = msgspec.json.decode(raw, type=Fingerprint)
    shapes = {len(found.tokens) == len(found.logs), bool(found.ids), bool(found.logs)}
    shapes |= {len(chosen) == len(logs) > 0 for chosen, logs in zip(found.tokens, found.logs, strict=False)}
    numbers = [found.noise, *(log for logs in found.logs for log in logs)]
    if shapes != {True} or any(token < 0 for chosen in found.tokens for token in chosen):
        raise ValueError("it is not whole")
    if not all(math.isfinite(number) for number in numbers) or any(number > 0 for number in numbers[1:]):
        raise ValueError("it holds numbers that are no probabilities")
    return found


def serialize(fingerprint: Fingerprint) -> bytes:
    """Format the file's content, one line per position."""
    head = {"type": "fingerprint", "noise": fingerprint.noise, "ids": fingerprint.ids}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, rows in (("tokens", fingerprint.tokens), ("logs", fingerprint.logs)):
        lines.append(f" {json.dumps(key)}: [\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
