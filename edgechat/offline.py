"""What "offline" means here: the opt-outs that must stand in the environment before any library is imported.

onnxruntime and onnxruntime-genai queue usage events for upload from the moment their library is loaded, and MLflow
sends its own; each looks at the environment once, at import. So `edgechat.__main__` calls `go_offline` before its first
import, and child processes inherit the result. This module must never import anything but the standard library.
"""

from __future__ import annotations

import os
import sys

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


def go_offline() -> None:
    """Set every opt-out. Call it before importing anything else."""
    os.environ.update(OPT_OUTS)


def restore_library_path() -> None:
    """Give programs this one starts the user's own library path, not the packaged binary's.

    PyInstaller's loader points it at the binary's own folder; a terminal or a clipboard tool would take old libraries
    from there. This process read it when it began and needs it no more; a child of the same binary is told to set it
    anew, and not to trust the variables by which the loader knows its own children.
    """
    if not getattr(sys, "frozen", False):
        return
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
