"""How many threads to compute with and how many tokens to hold, from the machine and the model's own numbers.

The KV cache is allocated for the whole context when a generator is made, and a context that does not fit kills the
process later, in the middle of a reply. So the context is settled before, and the reason for it is told.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edgechat.runtime import cgroups

DEFAULT_CONTEXT = 8192
"""Tokens held unless a setting asks for more; enough for a long talk, little enough for a small machine."""

LONGROPE_LIMIT = 4096
"""Phi models with LongRoPE compute their whole prompt anew, in one call that cannot be stopped, on crossing this."""

RESERVE = 256 * 1024 * 1024
"""Bytes of memory left to everything else."""

MINIMUM_CONTEXT = 256

RUNTIME = 100 * 1000 * 1000
"""Bytes a worker takes beside weights and context: Python and the libraries, measured with the smallest model."""

KEPT_CHATS = 4
"""Chats whose KV is kept at the most; each takes the memory of a whole context."""

KEPT_MEMORY = 1024 * 1024 * 1024
"""Bytes taken for chats beside the one being held, at the most, unless a setting allows more."""

_LONGROPE = ("phi3", "phi3small")
"""Types of genai_config.json that compute with LongRoPE when their context is long."""

_MADV_DONTNEED = 4
_MAPPING = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")


@dataclass(frozen=True, slots=True)
class Context:
    """The effective limit and why it is what it is: "setting", "memory", "model", "default" or ""."""

    tokens: int
    reason: str


def threads() -> int:
    """One per physical core this process may run on, as far as its groups give it the time.

    Two threads on one core share its arithmetic units and gain nothing; onnxruntime-genai's own default, half the
    logical cores, leaves half of a machine without hyper-threading idle.
    """
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can say
        allowed = physical
    # With more threads than time for them all of them stand still for a part of each tenth of a second.
    quota = math.ceil(cgroups.processors() or physical)
    return max(1, min(physical, allowed, quota))


def available_memory() -> int:
    """Bytes this process may still take: the least of what the system, its groups and its own limits leave."""
    free = int(psutil.virtual_memory().available)
    bounds = (cgroups.memory_left(), _address_space_left())
    return min([free, *(bound for bound in bounds if bound is not None)])


def _address_space_left() -> int | None:
    """What `ulimit -v` leaves, of which mapped files take their part; None where there is no such limit."""
    try:
        import resource
    except ImportError:
        return None  # Windows
    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - int(psutil.Process().memory_info().vms))


def return_unneeded_memory(folder: Path) -> None:
    """Give back what loading a model took for a moment, before the KV cache is allocated.

    onnxruntime keeps the file of tied embeddings mapped after it has packed them for the head, so they count twice,
    while a token needs one row of them. Clean pages of a mapped file can be dropped: what is needed is read again.

    Args:
        folder: The model's; mappings of its files are looked for.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError, ValueError):  # elsewhere than Linux with glibc
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        inside = os.fsencode(folder.resolve()) + b"/"
        start = end = 0
        for line in Path("/proc/self/smaps").read_bytes().splitlines():
            mapping = _MAPPING.match(line)
            if mapping:
                start, end = (int(edge, 16) for edge in mapping.groups()) if inside in line else (0, 0)
            elif end and line.split() == [b"Anonymous:", b"0", b"kB"]:  # no page of it was written to
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def kv_bytes_per_token(config: dict[str, Any]) -> int:
    """Bytes the KV cache takes for one token, from a genai_config; keys and values are float32 on a CPU."""
    decoder = config.get("model", {}).get("decoder", {})
    layers = int(decoder.get("num_hidden_layers", 0))
    heads = int(decoder.get("num_key_value_heads", decoder.get("num_attention_heads", 0)))
    return 2 * layers * heads * int(decoder.get("head_size", 0)) * 4


def worker_bytes(weights: int) -> int:
    """Bytes that loaded weights take with all that is needed to compute with them, the context aside.

    Measured on Linux: with 114 MB of weights the worker holds 76 MB more than those, with 2.4 GB of them 320 MB.
    """
    return weights + weights // 10 + RUNTIME


def kept_chats(cache: int, free: int, budget: int | None) -> int:
    """How many chats may keep their KV, the one being held included.

    Args:
        cache: Bytes the KV of one takes, its whole context; 0 is unknown.
        free: Bytes that may be taken now, the weights being loaded already.
        budget: Bytes the others may take; None is a quarter of what is free then, KEPT_MEMORY at the most.
    """
    spare = max(0, free - RESERVE - cache)
    allowed = min(spare // 4, KEPT_MEMORY) if budget is None else min(spare, budget)
    return 1 + min(KEPT_CHATS - 1, allowed // cache) if cache else 1


def cliff(config: dict[str, Any], context: int) -> int:
    """Tokens on whose crossing a model of a genai_config computes everything anew; 0 where `context` ends before."""
    model = config.get("model", {})
    longrope = model.get("type") in _LONGROPE and int(model.get("context_length") or 0) > LONGROPE_LIMIT
    return LONGROPE_LIMIT if longrope and context > LONGROPE_LIMIT else 0


def settle_context(config: dict[str, Any], wanted: int | None, free: int) -> Context:
    """The tokens a session may hold.

    Args:
        config: The model's genai_config.
        wanted: The user's setting; None for the default.
        free: Bytes that may be taken now, the weights being loaded already.

    Returns:
        At least MINIMUM_CONTEXT tokens or the model's own limit, whichever is less.
    """
    model = config.get("model", {})
    limit = int(model.get("context_length") or DEFAULT_CONTEXT)
    tokens, reason = limit, ""
    if wanted is not None and wanted < limit:
        tokens, reason = wanted, "setting"
    elif wanted is None and model.get("type") in _LONGROPE and limit > LONGROPE_LIMIT:
        tokens, reason = LONGROPE_LIMIT, "model"
    elif wanted is None and limit > DEFAULT_CONTEXT:
        tokens, reason = DEFAULT_CONTEXT, "default"
    each = kv_bytes_per_token(config)
    if each:
        fits = max(MINIMUM_CONTEXT, (free - RESERVE) // each)
        if fits < tokens:
            tokens, reason = int(fits), "memory"
    return Context(tokens, reason)
