"""How many threads to compute with and how many tokens to hold, from the machine and the model's own numbers.

The KV cache is allocated for the whole context when a generator is made, and a context that does not fit kills the
process later, in the middle of a reply. So the context is settled before, and the reason for it is told.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

DEFAULT_CONTEXT = 8192
"""Tokens held unless a setting asks for more; enough for a long talk, little enough for a small machine."""

LONGROPE_LIMIT = 4096
"""Phi models with LongRoPE compute their whole prompt anew, in one call that cannot be stopped, on crossing this."""

RESERVE = 256 * 1024 * 1024
"""Bytes of memory left to everything else."""

MINIMUM_CONTEXT = 256

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
    """One per physical core this process may run on.

    Two threads on one core share its arithmetic units and gain nothing; onnxruntime-genai's own default, half the
    logical cores, leaves half of a machine without hyper-threading idle.
    """
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can say
        allowed = physical
    return max(1, min(physical, allowed))


def available_memory() -> int:
    """Bytes this process may still take: the system's, or what its cgroup leaves where that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return free  # not Linux
    for line in groups:
        _, controllers, own = line.split(":", 2)
        if not controllers:
            top, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # version 1, on older machines
            top = Path("/sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / own.lstrip("/")
        # A limit of any group above holds too; the topmost group of a machine has none.
        for group in (folder, *folder.parents):
            with contextlib.suppress(OSError, ValueError):
                free = min(free, _left(group, *names))
            if group == top:
                break
    return free


def _left(group: Path, limit: str, used: str, idle: str) -> int:
    """Bytes a memory group leaves. What it holds of files it has read and does not use is given back when needed."""
    taken = int((group / used).read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        stat = (group / "memory.stat").read_text(encoding="ascii").split()
        taken -= int(stat[stat.index(idle) + 1]) if idle in stat else 0
    return max(0, int((group / limit).read_text(encoding="ascii")) - taken)


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
