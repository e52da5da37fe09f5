"""What a worker is started with: the libraries it needs, its environment and its log."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from pathlib import Path
from typing import IO

from edgechat.engine.protocol import Kind
from edgechat.errors import ModelError, StorageError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.extras import install_command

LOG_LIMIT = 1024 * 1024
"""Bytes of the workers' log after which it is started anew."""


def require_transformers(name: str) -> None:
    """Report a missing extra before starting a process that can only fail. Raises ModelError."""
    from importlib.util import find_spec

    what = f"{name} is a Transformers pipeline or a Hugging Face model"
    if getattr(sys, "frozen", False):
        raise ModelError(
            "This edgechat cannot run the model",
            Sentence("{what}; the packaged edgechat runs ONNX GenAI models.", what=what),
            "On a computer with Python, `edgechat package` turns it into one.",
        )
    missing = [module for module in ("torch", "transformers") if find_spec(module) is None]
    if missing:
        raise ModelError(
            "Model needs the extra transformers",
            Sentence(
                "{what}, and {missing} {value} not installed.",
                what=what,
                missing=" and ".join(missing),
                value="are" if missing[1:] else "is",
            ),
            Sentence(
                "{install_command}, or turn it into an ONNX model with `edgechat package`.",
                install_command=install_command("transformers"),
            ),
        )


def environment(kind: Kind) -> dict[str, str]:
    """Return the worker's environment variables."""
    # With glibc, keep weights in huge pages: a few percent faster.
    tunables = [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
    environment = {**os.environ, "GLIBC_TUNABLES": ":".join(filter(None, tunables))}
    if kind == "transformers":
        # torch's threads wait for one another after each small step. Spinning meanwhile is 25% faster on an idle
        # machine and thirty times slower as soon as another program keeps a core busy.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return environment


def open_log() -> IO[bytes]:
    """Open the workers' log, starting anew if it has grown past LOG_LIMIT."""
    path = paths.log_path("worker")

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    try:
        paths.make_private(path.parent)
        fresh = path.exists() and path.stat().st_size > LOG_LIMIT
        return open(path, "wb" if fresh else "ab", opener=private)
    except (OSError, StorageError):
        # A log that cannot be written must not prevent chatting.
        return Path(os.devnull).open("wb")


def size_of(folder: Path) -> int:
    """Return the total size of a model's files in bytes, ignoring unreadable ones."""
    size = 0
    for path in itertools.islice(folder.rglob("*"), 10_000):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size
