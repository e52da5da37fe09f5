"""Telemetry opt-outs that must be in the environment before any library is imported.

onnxruntime and onnxruntime-genai queue usage events for upload as soon as their library is loaded, and MLflow sends its
own; each reads the environment once, at import. So `edgechat.__main__` calls `go_offline` before its first import, and
child processes inherit the result. This module must import nothing but the standard library.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing adds milliseconds to every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any

OPT_OUTS = {
    # Microsoft telemetry in onnxruntime >= 1.29 and onnxruntime-genai >= 0.15; their own run-time switches and
    # DO_NOT_TRACK take effect too late or not at all.
    "ORT_DISABLE_TELEMETRY": "1",
    # Only the literal "true" is recognised.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Variables set for this process and its children, whatever the caller's environment says."""


def silence_libraries() -> None:
    """Disable telemetry of the engine and MLflow in a program that merely uses edgechat.

    Each library decides at import time, so call this first. MLflow's progress bars are off unless the user enables
    them.
    """
    for name in ("ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ[name] = OPT_OUTS[name]
    bars = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    os.environ.setdefault(bars, OPT_OUTS[bars])


def go_offline() -> None:
    """Set every opt-out and keep libraries from probing the network. Call before importing anything else."""
    os.environ.update(OPT_OUTS)
    if not any(isinstance(finder, _NoProbe) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoProbe())


class _NoProbe:
    """An import hook that keeps urllib3 from binding a socket to ::1 at import to test for IPv6.

    MLflow and transformers import it even if nothing will be sent. urllib3 then assumes IPv6, which is harmless: a
    client tries each of a server's addresses anyway.
    """

    _NAME = "urllib3.util.connection"

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self._NAME:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            setattr(spec.loader, "exec_module", lambda module: self._execute(execute, module))  # noqa: B010
        return spec

    @staticmethod
    def _execute(execute: Callable[[Any], None], module: Any) -> None:
        import socket  # urllib3 imports it anyway

        known, socket.has_ipv6 = socket.has_ipv6, False
        try:
            execute(module)
        finally:
            socket.has_ipv6 = known
        module.HAS_IPV6 = known
