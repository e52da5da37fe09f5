"""What a model is loaded with whatever its own configuration says: threads, silence, and kernels that compute right.

Everything that loads an ONNX GenAI folder takes its options from here, so that models saved long ago, or by others,
get them too. They are laid over the model's own, which they override. Standard library only.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

NO_KLEIDIAI = "mlas.disable_kleidiai"
"""onnxruntime's option to compute without Arm's KleidiAI library.

Its kernel for symmetric 4-bit `MatMulNBits` (accuracy level 4) rounds activations to 8 bits by the row where
onnxruntime's own rounds them by blocks of 32: one large activation drowns the others, and the default model gives wrong
answers on every core with the dot product extension. See onnxruntime 23627, 29654 and 29849. The other cure, explicit
zero points, would have to be in the model, and costs a third of the speed on x86."""

_ARM = frozenset({"aarch64", "arm64"})


def session_options(threads: int, *, spinning: bool = True, machine: str = "") -> dict[str, Any]:
    """The options of every session.

    Args:
        threads: Of the computation.
        spinning: Whether threads spin while they wait for work.
        machine: The processor's architecture; this one's by default.
    """
    options: dict[str, Any] = {"intra_op_num_threads": threads, "inter_op_num_threads": 1, "log_severity_level": 4}
    if not spinning:
        options["session.intra_op.allow_spinning"] = "0"
    if (machine or platform.machine()).lower() in _ARM:
        options[NO_KLEIDIAI] = "1"
    return options


def model_overlay(model: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What to lay over a model so that each of its sessions has the options.

    Args:
        model: The section `model` of its genai_config.json.
        options: As `session_options` gives them.
    """
    decoder = model.get("decoder")
    found = _overlaid(model, options) or {}
    within = found.setdefault("decoder", {})
    if isinstance(decoder, Mapping) and isinstance(within, dict):
        within["session_options"] = dict(options)
    return found


def _overlaid(node: Any, options: Mapping[str, Any]) -> Any:
    """The same places as in `node` that have options of their own, with these; None where there is none.

    A stage of a pipeline with options of its own takes nothing from the decoder's. The library finds the stage of an
    overlay by its name, not by its place in the list.
    """
    if isinstance(node, Mapping):
        found = {key: _overlaid(value, options) for key, value in node.items() if key != "session_options"}
        if isinstance(node.get("session_options"), Mapping):
            found["session_options"] = dict(options)
        return {key: value for key, value in found.items() if value is not None} or None
    if isinstance(node, list):
        return [value for value in (_overlaid(each, options) for each in node) if value is not None] or None
    return None
