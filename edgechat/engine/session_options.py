"""Options every model is loaded with, whatever its own configuration says: threads, logging and correct kernels.

Everything that loads an ONNX GenAI folder takes its options from here, so that older or third-party models get them
too. They override the model's own. Standard library only.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

NO_KLEIDIAI = "mlas.disable_kleidiai"
"""onnxruntime's option to disable Arm's KleidiAI library.

Its kernel for symmetric 4-bit `MatMulNBits` (accuracy level 4) rounds activations to 8 bits per row, where
onnxruntime's own rounds per block of 32: one large activation drowns out the others, and the default model answers
wrongly on every core with the dot product extension. See onnxruntime 23627, 29654 and 29849. The alternative, explicit
zero points, would have to be in the model and costs a third of the speed on x86."""

_ARM = frozenset({"aarch64", "arm64"})


def session_options(threads: int, *, spinning: bool = True, machine: str = "") -> dict[str, Any]:
    """Return the options for every session.

    Args:
        threads: Number of compute threads.
        spinning: Whether idle threads spin while waiting for work.
        machine: Processor architecture; defaults to this machine's.
    """
    options: dict[str, Any] = {"intra_op_num_threads": threads, "inter_op_num_threads": 1, "log_severity_level": 4}
    if not spinning:
        options["session.intra_op.allow_spinning"] = "0"
    if (machine or platform.machine()).lower() in _ARM:
        options[NO_KLEIDIAI] = "1"
    return options


def model_overlay(model: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config overlay that gives each of a model's sessions these options.

    Args:
        model: The `model` section of its genai_config.json.
        options: As returned by `session_options`.
    """
    decoder = model.get("decoder")
    found = _overlaid(model, options) or {}
    within = found.setdefault("decoder", {})
    if isinstance(decoder, Mapping) and isinstance(within, dict):
        within["session_options"] = dict(options)
    return found


def _overlaid(node: Any, options: Mapping[str, Any]) -> Any:
    """Return the parts of `node` that have session options, with these options instead; None if there are none.

    A pipeline stage with options of its own inherits none of the decoder's. The library matches the stages of an
    overlay by name, not by position.
    """
    if isinstance(node, Mapping):
        found = {key: _overlaid(value, options) for key, value in node.items() if key != "session_options"}
        if isinstance(node.get("session_options"), Mapping):
            found["session_options"] = dict(options)
        return {key: value for key, value in found.items() if value is not None} or None
    if isinstance(node, list):
        return [value for value in (_overlaid(each, options) for each in node) if value is not None] or None
    return None
