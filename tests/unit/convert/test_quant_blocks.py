"""Every storage type maps to MatMulNBits blocks that mean the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize
from onnx import TensorProto

from edgechat.convert.gguf.quant_blocks import F32, BlockWeight, DenseWeight, Weight, from_gguf, stack_rows
from edgechat.convert.gguf.weights import rotary_order
from edgechat.convert.onnx_writer import MODEL_FILE, GraphWriter
from tests.unit.convert.tiny_gguf import random_blocks

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_TYPES = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K]
# Those with w = scale * code, where no addition can round.
SYMMETRIC = {Type.Q4_0, Type.Q5_0, Type.Q8_0, Type.Q6_K}
ROWS, COLUMNS = 48, 512


def sample(kind: Type, seed: int = 0) -> tuple[Weight, F32]:
    raw = random_blocks(np.random.default_rng(seed), (ROWS, COLUMNS), kind)
    return from_gguf(raw, kind.name, (ROWS, COLUMNS)), np.asarray(dequantize(raw, kind), np.float32)


@pytest.mark.parametrize("kind", BLOCK_TYPES, ids=lambda kind: kind.name)
def test_blocks_mean_what_the_gguf_package_says(kind: Type) -> None:
    weight, expected = sample(kind)
    assert (weight.rows, weight.columns) == (ROWS, COLUMNS)
    actual = weight.to_float()
    if kind in SYMMETRIC:
        np.testing.assert_array_equal(actual, expected)
    else:
        # Both add two numbers that may cancel: an ulp of the larger, which scale * code is.
        largest = np.abs(expected).reshape(ROWS, -1, 32).max(axis=-1, keepdims=True).repeat(32, -1)
        assert (np.abs(actual - expected).reshape(largest.shape) <= 2 * np.spacing(largest)).all()


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16], ids=lambda kind: kind.name)
def test_unquantised_values_stay_as_they_are(kind: Type) -> None:
    values = np.random.default_rng(0).standard_normal((8, 32), dtype=np.float32)
    if kind is Type.BF16:
        raw = (values.view(np.uint32) >> 16).astype(np.uint16)
        expected = (raw.astype(np.uint32) << 16).view(np.float32)
    else:
        raw = values.astype(np.float32 if kind is Type.F32 else np.float16)
        expected = raw.astype(np.float32)
    weight = from_gguf(raw.view(np.uint8), kind.name, (8, 32))
    np.testing.assert_array_equal(weight.to_float(), expected)


def run(folder: Path, weight: Weight, source: F32, *, tied: bool = False) -> list[F32]:
    """The embedding rows 3, 0, 3 and the product of `source` with a weight, by onnxruntime."""
    with GraphWriter(folder) as graph:
        graph.add_input("ids", TensorProto.INT64, ["count"])
        graph.add_input("x", TensorProto.FLOAT, ["tokens", weight.columns])
        graph.node("Identity", [graph.embedding(weight, "ids", "table")], "rows", outputs=["picked"])
        graph.add_output("picked", TensorProto.FLOAT, ["count", weight.columns])
        product = graph.tied_linear(weight, "table", "x", "head") if tied else graph.linear(weight, "x", "other")
        graph.node("Identity", [product], "named", outputs=["y"])
        graph.add_output("y", TensorProto.FLOAT, ["tokens", weight.rows])
        graph.save("test")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])
    feed = {"ids": np.array([3, 0, 3]), "x": source}
    return [np.asarray(value) for value in session.run(["picked", "y"], feed)]


@pytest.mark.parametrize("tied", [False, True], ids=["apart", "tied"])
@pytest.mark.parametrize("kind", [*BLOCK_TYPES, Type.F32, Type.F16, Type.BF16], ids=lambda kind: kind.name)
def test_onnxruntime_computes_the_same(tmp_path: Path, kind: Type, *, tied: bool) -> None:
    weight: Weight
    if kind in BLOCK_TYPES:
        weight, expected = sample(kind)
    else:
        dense = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), dtype=np.float32)
        raw = (dense.view(np.uint32) >> 16).astype(np.uint16) if kind is Type.BF16 else None
        half = dense.astype(np.float16)
        weight = DenseWeight(dense if kind is Type.F32 else half if raw is None else raw)
        expected = weight.to_float()
    # Values that int8 holds exactly at a scale that is a power of two: the kernel's rounding of activations is no
    # part of this test. 127 in every block fixes the scale.
    source = np.random.default_rng(1).integers(-127, 128, (5, COLUMNS)).astype(np.float32)
    source[:, ::16] = 127
    picked, product = run(tmp_path, weight, source, tied=tied)
    np.testing.assert_allclose(picked, expected[[3, 0, 3]], rtol=0, atol=2e-7 * np.abs(expected).max())
    exact = source.astype(np.float64) @ expected.T.astype(np.float64)
    np.testing.assert_allclose(product, exact, rtol=0, atol=2e-5 * np.abs(exact).max())


def test_large_inputs_are_pooled_to_the_same_means(tmp_path: Path) -> None:
    raw = random_blocks(np.random.default_rng(0), (32, 4096), Type.Q4_1)
    source = np.random.default_rng(1).integers(-127, 128, (3, 4096)).astype(np.float32)
    source[:, ::32] = 127
    _, product = run(tmp_path, from_gguf(raw, "Q4_1", (32, 4096)), source)
    exact = source.astype(np.float64) @ np.asarray(dequantize(raw, Type.Q4_1), np.float64).T
    np.testing.assert_allclose(product, exact, rtol=0, atol=2e-5 * np.abs(exact).max())


def test_rotary_order_undoes_what_llama_cpp_does() -> None:
    heads, size = 3, 8
    rows = np.random.default_rng(0).standard_normal((heads * size, 5))
    # LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py.
    permuted = rows.reshape(heads, 2, size // 2, 5).swapaxes(1, 2).reshape(rows.shape)
    np.testing.assert_array_equal(permuted[rotary_order(heads, size)], rows)


def test_rows_are_taken_whole() -> None:
    weight, expected = sample(Type.Q4_1)
    order = np.random.default_rng(2).permutation(ROWS)
    np.testing.assert_array_equal(weight.take_rows(order).to_float(), weight.to_float()[order])
    assert expected.shape == (ROWS, COLUMNS)


def test_matrices_of_one_kind_are_stacked_and_others_are_not() -> None:
    first, second, other = sample(Type.Q4_1)[0], sample(Type.Q4_1, 1)[0], sample(Type.Q4_0)[0]
    stacked = stack_rows([first, second])
    assert isinstance(stacked, BlockWeight)
    np.testing.assert_array_equal(stacked.to_float(), np.concatenate([first.to_float(), second.to_float()]))
    assert stack_rows([first, other]) is None
    assert stack_rows([first, sample(Type.Q6_K)[0]]) is None
    dense = DenseWeight(np.ones((4, COLUMNS), np.float32))
    assert stack_rows([dense, first]) is None
    assert stack_rows([dense, dense]) is not None
