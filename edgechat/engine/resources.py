"""Decides how many threads and how large a context window to use, from the machine and the model.

A generator allocates the KV cache for the whole context, and one that does not fit would get the process killed in the
middle of a reply. So the context is decided beforehand, along with the reason to show the user.
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
"""Default context window in tokens; enough for a long chat, small enough for a small machine."""

LONGROPE_LIMIT = 4096
"""Tokens beyond which Phi models with LongRoPE recompute the whole prompt in one uninterruptible call."""

RESERVE = 256 * 1024 * 1024
"""Bytes of memory left for everything else."""

MINIMUM_CONTEXT = 256

RUNTIME = 100 * 1000 * 1000
"""Bytes a worker needs besides weights and context: Python and the libraries, measured with the smallest model."""

MAX_CACHED_CHATS = 4
"""Maximum number of chats with a KV cache; each takes the memory of a whole context."""

MAX_CACHE_BYTES = 1024 * 1024 * 1024
"""Maximum bytes for the caches of chats other than the current one, unless a setting allows more."""

_LONGROPE = ("phi3", "phi3small")
"""Model types in genai_config.json that use LongRoPE when their context is long."""

_MADV_DONTNEED = 4
_MAPPING = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")


@dataclass(frozen=True, slots=True)
class Context:
    """The effective context window and its reason: "setting", "memory", "model", "default" or ""."""

    tokens: int
    reason: str


def threads() -> int:
    """Return one thread per physical core available to this process, within its CPU quota.

    Hyper-threads share a core's arithmetic units, so a second one gains nothing. onnxruntime-genai's own default, half
    the logical cores, leaves half of a machine without hyper-threading idle.
    """
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # available only on Linux
        allowed = physical
    # With more threads than quota, all of them are throttled for part of each scheduling period.
    quota = math.ceil(cgroups.processors() or physical)
    return max(1, min(physical, allowed, quota))


def available_memory() -> int:
    """Return the bytes this process can still use: the least of what the system, cgroups and rlimits allow."""
    free = int(psutil.virtual_memory().available)
    bounds = (cgroups.memory_left(), _address_space_left())
    return min([free, *(bound for bound in bounds if bound is not None)])


def _address_space_left() -> int | None:
    """Return what `ulimit -v` leaves, which mapped files count against; None if there is no such limit."""
    try:
        import resource
    except ImportError:
        return None  # Windows
    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - int(psutil.Process().memory_info().vms))


def return_unneeded_memory(folder: Path) -> None:
    """Release memory that was only needed for loading, before the KV cache is allocated.

    onnxruntime keeps the file of tied embeddings mapped after packing them for the head, so they count twice although
    generating a token reads a single row. Clean pages of a mapped file can be dropped and are read again on demand.

    Args:
        folder: The model folder, whose file mappings are dropped.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError, ValueError):  # not Linux with glibc
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        inside = os.fsencode(folder.resolve()) + b"/"
        start = end = 0
        for line in Path("/proc/self/smaps").read_bytes().splitlines():
            mapping = _MAPPING.match(line)
            if mapping:
                start, end = (int(edge, 16) for edge in mapping.groups()) if inside in line else (0, 0)
            elif end and line.split() == [b"Anonymous:", b"0", b"kB"]:  # none of its pages was written to
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def kv_bytes_per_token(config: dict[str, Any]) -> int:
    """Return the KV cache size per token in bytes, from a genai_config; keys and values are float32 on a CPU."""
    decoder = config.get("model", {}).get("decoder", {})
    layers = int(decoder.get("num_hidden_layers", 0))
    heads = int(decoder.get("num_key_value_heads", decoder.get("num_attention_heads", 0)))
    return 2 * layers * heads * int(decoder.get("head_size", 0)) * 4


def worker_bytes(weights: int) -> int:
    """Return the bytes a worker needs for weights of this size, excluding the context.

    Measured on Linux: 76 MB more than the weights with 114 MB of them, 320 MB more with 2.4 GB.
    """
    return weights + weights // 10 + RUNTIME


def cached_chats(cache: int, free: int, budget: int | None) -> int:
    """Return how many chats may have a KV cache, including the current one.

    Args:
        cache: Bytes of one chat's KV cache for the whole context; 0 if unknown.
        free: Available bytes once the weights are loaded.
        budget: Bytes for the other chats' caches; None is a quarter of what remains, at most MAX_CACHE_BYTES.
    """
    spare = max(0, free - RESERVE - cache)
    allowed = min(spare // 4, MAX_CACHE_BYTES) if budget is None else min(spare, budget)
    return 1 + min(MAX_CACHED_CHATS - 1, allowed // cache) if cache else 1


def longrope_limit(config: dict[str, Any], context: int) -> int:
    """Return the tokens beyond which a LongRoPE model recomputes everything; 0 if `context` is smaller."""
    model = config.get("model", {})
    longrope = model.get("type") in _LONGROPE and int(model.get("context_length") or 0) > LONGROPE_LIMIT
    return LONGROPE_LIMIT if longrope and context > LONGROPE_LIMIT else 0


def settle_context(config: dict[str, Any], requested: int | None, free: int) -> Context:
    """Decide the context window of a session.

    Args:
        config: The model's genai_config.
        requested: The user's setting in tokens; None for the default.
        free: Available bytes once the weights are loaded.

    Returns:
        At least MINIMUM_CONTEXT tokens or the model's own limit, whichever is smaller.
    """
    model = config.get("model", {})
    limit = int(model.get("context_length") or DEFAULT_CONTEXT)
    tokens, reason = limit, ""
    if requested is not None and requested < limit:
        tokens, reason = requested, "setting"
    elif requested is None and model.get("type") in _LONGROPE and limit > LONGROPE_LIMIT:
        tokens, reason = LONGROPE_LIMIT, "model"
    elif requested is None and limit > DEFAULT_CONTEXT:
        tokens, reason = DEFAULT_CONTEXT, "default"
    each = kv_bytes_per_token(config)
    if each:
        fits = max(MINIMUM_CONTEXT, (free - RESERVE) // each)
        if fits < tokens:
            tokens, reason = int(fits), "memory"
    return Context(tokens, reason)
