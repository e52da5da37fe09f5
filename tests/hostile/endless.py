"""Models that never come to an end: while they are loaded, or at the first token."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import onnx
from onnx import TensorProto, helper

When = Literal["load", "reply"]


def make_endless(source: Path, target: Path, when: When) -> Path:
    """Copy a random model, and add to its logits what takes for ever to compute.

    Args:
        source: What `make_tiny` wrote.
        target: The new folder.
        when: "load": what is computed once, as the model is loaded; "reply": a loop in each step.
    """
    shutil.copytree(source, target)
    model = onnx.load(target / "model.onnx", load_external_data=False)
    logits = model.graph.output[0].name
    last = next(node for node in model.graph.node if logits in node.output)
    last.output[list(last.output).index(logits)] = "logits_before"
    (_add_products if when == "load" else _add_loop)(model.graph)
    model.graph.node.append(helper.make_node("Add", ["logits_before", "nothing"], [logits]))
    onnx.save(model, target / "model.onnx")
    return target


def _add_products(graph: onnx.GraphProto) -> None:
    """Hours of products of constants, which onnxruntime computes before anything else."""
    graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [2500, 2500]))
    graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["product_0"]))
    for number in range(20_000):
        names = [f"product_{number}", f"product_{number}"]
        graph.node.append(helper.make_node("MatMul", names, [f"product_{number + 1}"]))
    graph.node.append(helper.make_node("ReduceMax", ["product_20000"], ["nothing"], keepdims=0))


def _add_loop(graph: onnx.GraphProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Add", ["so_far", "none"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("so_far", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, []),
        ],
    )
    graph.initializer.append(helper.make_tensor("times", TensorProto.INT64, [], [2**62]))
    graph.initializer.append(helper.make_tensor("true", TensorProto.BOOL, [], [True]))
    graph.initializer.append(helper.make_tensor("none", TensorProto.FLOAT, [], [0.0]))
    graph.node.append(helper.make_node("ReduceMax", ["logits_before"], ["largest"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["largest", "none"], ["begun"]))
    graph.node.append(helper.make_node("Loop", ["times", "true", "begun"], ["nothing"], body=body))
