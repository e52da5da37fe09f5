"""Reads from an ONNX graph how its weights are stored; needs onnx, and does not read external weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_LARGEST = 512 * 1024 * 1024


def quantisation_of(folder: Path) -> str:
    """Return the storage types of an ONNX GenAI folder's matrices, most frequent first: "int4 block 32".

    Returns:
        "" if unknown: onnx is not installed, or the graph is unreadable or too large.
    """
    try:
        import onnx
    except ImportError:
        return ""
    graphs = [path for path in folder.glob("*.onnx") if path.stat().st_size <= _LARGEST]
    found: Counter[str] = Counter()
    for path in graphs:
        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception:  # protobuf's errors share no base class, and this is only informational
            return ""
        for node in model.graph.node:
            values = {attribute.name: attribute.i for attribute in node.attribute}
            if node.op_type == "MatMulNBits":
                found[f"int{values.get('bits', 4)} block {values.get('block_size', 32)}"] += 1
            elif node.op_type == "MatMul":
                found["float"] += 1
    return " + ".join(form for form, _ in found.most_common() if form != "float") or ("float" if found else "")
