"""Generation speed of each model on this machine, measured from its latest replies.

A small file in the state folder without any chat content. edgechat's folders may travel on a USB stick, so numbers are
recorded per machine. Whatever cannot be read or written is treated as unknown.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from edgechat.errors import StorageError
from edgechat.runtime import paths
from edgechat.runtime.regular_files import read_regular

REMEMBERED = 9
"""Number of replies remembered per model; their median is reported."""

LEAST_TOKENS = 8
"""Minimum length of a reply to be measured, in tokens."""

_MOST_MODELS = 200
_LARGEST = 4_000_000


class _File(msgspec.Struct, frozen=True):
    """Tokens per second of the latest replies by machine and model, newest last."""

    machines: dict[str, dict[str, list[float]]] = {}


def path() -> Path:
    """Return the file."""
    return paths.state_dir() / "speeds.json"


def machine() -> str:
    """Return an anonymous id of this machine."""
    import hashlib  # not needed when a chat starts
    import platform

    facts = f"{platform.machine()} {cpu_name()} {os.cpu_count()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def cpu_name() -> str:
    """Return the processor's name; "" if the system does not report it."""
    import platform

    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def record(model: str, tokens: int, speed: float) -> None:
    """Record the speed of one reply.

    Args:
        model: Name of the model.
        tokens: Tokens generated.
        speed: Tokens per second.
    """
    if tokens < LEAST_TOKENS or speed <= 0:
        return
    machines = dict(_read().machines)
    models = dict(machines.get(machine(), {}))
    models[model] = [*models.pop(model, []), round(speed, 2)][-REMEMBERED:]
    machines[machine()] = dict(list(models.items())[-_MOST_MODELS:])
    temporary = path().with_name(f".{path().name}.{os.getpid()}.tmp")
    with suppress(OSError, StorageError):
        paths.make_private(path().parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - made private at once
            file.write(msgspec.json.encode(_File(machines)))
        temporary.replace(path())


def measured(model: str) -> tuple[float, int] | None:
    """Return a model's tokens per second on this machine and the number of replies measured; None if unknown."""
    import statistics

    speeds = _read().machines.get(machine(), {}).get(model, [])
    return (statistics.median(speeds), len(speeds)) if speeds else None


def _read() -> _File:
    try:
        return msgspec.json.decode(read_regular(path(), _LARGEST), type=_File)
    except (OSError, msgspec.MsgspecError):
        return _File()
