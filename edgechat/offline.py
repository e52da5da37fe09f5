"""What "offline" means here: the opt-outs that must stand in the environment before any library is imported.

onnxruntime and onnxruntime-genai queue usage events for upload from the moment their library is loaded, and MLflow
sends its own; each looks at the environment once, at import. So `edgechat.__main__` calls `go_offline` before its first
import, and child processes inherit the result. This module must never import anything but the standard library.
"""

from __future__ import annotations

import os

OPT_OUTS = {
    # The Microsoft telemetry of onnxruntime >= 1.29 and onnxruntime-genai >= 0.15; their own run-time switches and
    # DO_NOT_TRACK come too late or do nothing.
    "ORT_DISABLE_TELEMETRY": "1",
    # Only the literal "true" is understood.
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
    """Switch off what the engine and MLflow would send, in a program that is not edgechat's and only uses it.

    Each library decides when it is imported: call it before. MLflow's progress bars are off unless the user wants them.
    """
    for name in ("ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ[name] = OPT_OUTS[name]
    bars = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    os.environ.setdefault(bars, OPT_OUTS[bars])


def go_offline() -> None:
    """Set every opt-out. Call it before importing anything else."""
    os.environ.update(OPT_OUTS)
