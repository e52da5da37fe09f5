"""How fast each model has written on this machine, as the last replies measured it.

A small file in the state folder; nothing of a chat is in it. The folders of edgechat may travel on a stick, so each
machine has its own numbers. What cannot be read or written is only not known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from edgechat.errors import StorageError
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular

KEPT = 9
"""Replies that are remembered of each model; their median is what is told."""

LEAST_TOKENS = 8
"""A shorter reply measures nothing."""

_MOST_MODELS = 200
_LARGEST = 4_000_000


class _File(msgspec.Struct, frozen=True):
    """By machine, then by model: tokens a second of the last replies, the newest last."""

    machines: dict[str, dict[str, list[float]]] = {}


def path() -> Path:
    """Where they are kept."""
    return paths.state_dir() / "speeds.json"


def machine() -> str:
    """What stands for this machine; nothing can be read out of it."""
    import hashlib  # the start of the chat needs none of these
    import platform

    facts = f"{platform.machine()} {cpu_name()} {os.cpu_count()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def cpu_name() -> str:
    """The processor's name, "" where the system does not tell."""
    import platform

    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def note(model: str, tokens: int, speed: float) -> None:
    """Remember the speed of one reply.

    Args:
        model: Its name.
        tokens: Tokens that were written.
        speed: Tokens a second.
    """
    if tokens < LEAST_TOKENS or speed <= 0:
        return
    machines = dict(_read().machines)
    models = dict(machines.get(machine(), {}))
    models[model] = [*models.pop(model, []), round(speed, 2)][-KEPT:]
    machines[machine()] = dict(list(models.items())[-_MOST_MODELS:])
    temporary = path().with_name(f".{path().name}.{os.getpid()}.tmp")
    with suppress(OSError, StorageError):
        paths.make_private(path().parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - made private at once
            file.write(msgspec.json.encode(_File(machines)))
        temporary.replace(path())


def measured(model: str) -> tuple[float, int] | None:
    """Tokens a second of a model on this machine, and of how many replies that is the median; None if not known."""
    import statistics

    speeds = _read().machines.get(machine(), {}).get(model, [])
    return (statistics.median(speeds), len(speeds)) if speeds else None


def _read() -> _File:
    try:
        return msgspec.json.decode(read_regular(path(), _LARGEST), type=_File)
    except (OSError, msgspec.MsgspecError):
        return _File()
