"""The environment onnxruntime looks at when it is loaded."""

from __future__ import annotations

import os

# Before any test module of this folder imports it: the wheels send telemetry unless told otherwise.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
