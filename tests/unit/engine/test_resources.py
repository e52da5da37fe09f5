"""Threads and context, from the machine's and the model's own numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psutil
import pytest

from edgechat.engine import resources
from edgechat.engine.resources import DEFAULT_CONTEXT, LONGROPE_LIMIT, MINIMUM_CONTEXT, RESERVE, Context, settle_context
from edgechat.runtime import cgroups

PLENTY = 64 * 2**30


def config(context_length: int = 4096, type_: str = "llama", layers: int = 32) -> dict[str, Any]:
    decoder = {"num_hidden_layers": layers, "num_key_value_heads": 32, "num_attention_heads": 32, "head_size": 96}
    return {"model": {"type": type_, "context_length": context_length, "decoder": decoder}}


def test_a_token_of_phi3_mini_takes_786_kilobytes() -> None:
    assert resources.kv_bytes_per_token(config()) == 786_432


@pytest.mark.parametrize(
    ("model", "wanted", "expected"),
    [
        (config(4096), None, Context(4096, "")),
        (config(4096), 1000, Context(1000, "setting")),
        (config(4096), 100_000, Context(4096, "")),
        (config(131_072), None, Context(DEFAULT_CONTEXT, "default")),
        (config(131_072), 20_000, Context(20_000, "setting")),
        (config(131_072, "phi3"), None, Context(LONGROPE_LIMIT, "model")),
        (config(4096, "phi3"), None, Context(4096, "")),
    ],
)
def test_the_context_and_its_reason(model: dict[str, Any], wanted: int | None, expected: Context) -> None:
    assert settle_context(model, wanted, PLENTY) == expected


def test_memory_bounds_the_context() -> None:
    free = RESERVE + 1000 * resources.kv_bytes_per_token(config())
    assert settle_context(config(), None, free) == Context(1000, "memory")
    assert settle_context(config(), 4000, free) == Context(1000, "memory")
    assert settle_context(config(), 500, free) == Context(500, "setting")
    assert settle_context(config(), None, 0) == Context(MINIMUM_CONTEXT, "memory")


def test_a_model_without_numbers_is_not_bounded_by_memory() -> None:
    assert settle_context({"model": {"context_length": 2048}}, None, 0) == Context(2048, "")


def test_one_thread_a_core_this_process_may_use() -> None:
    assert 1 <= resources.threads() <= (psutil.cpu_count(logical=False) or os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        assert resources.threads() <= len(os.sched_getaffinity(0))


def test_what_groups_leave_bounds_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "memory_left", lambda: 1000)
    assert resources.available_memory() == 1000
    monkeypatch.setattr(cgroups, "memory_left", lambda: None)
    assert resources.available_memory() > 1000


@pytest.mark.skipif(os.name != "posix", reason="there is no such limit")
def test_a_limit_of_address_space_bounds_it_too() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9)); "
    code += "from edgechat.engine import resources; print(resources.available_memory())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 0 < int(ended.stdout) < 3 * 10**9


def test_chats_are_kept_within_the_memory_there_is() -> None:
    gigabyte, cache = 2**30, 100 * 2**20
    assert resources.cached_chats(cache, 16 * gigabyte, None) == resources.MAX_CACHED_CHATS
    assert resources.cached_chats(cache, gigabyte, None) == 2
    assert resources.cached_chats(cache, 16 * gigabyte, 0) == 1
    assert resources.cached_chats(cache, 16 * gigabyte, 250 * 2**20) == 3
    assert resources.cached_chats(cache, cache, 16 * gigabyte) == 1
    # Phi-3-mini with 4,096 tokens takes three gigabytes: one chat, unless a setting allows more.
    assert resources.cached_chats(3 * gigabyte, 16 * gigabyte, None) == 1
    assert resources.cached_chats(3 * gigabyte, 16 * gigabyte, 4 * gigabyte) == 2
    assert resources.cached_chats(0, 16 * gigabyte, None) == 1


@pytest.mark.parametrize(
    ("kind", "length", "context", "longrope_limit"),
    [
        ("phi3", 131_072, 8192, 4096),
        ("phi3", 131_072, 4096, 0),
        ("phi3", 4096, 4096, 0),
        ("llama", 131_072, 8192, 0),
    ],
)
def test_the_longrope_limit_is_known(kind: str, length: int, context: int, longrope_limit: int) -> None:
    assert resources.longrope_limit({"model": {"type": kind, "context_length": length}}, context) == longrope_limit
