"""Writes an ONNX model incrementally: nodes in memory, weights straight to the data file.

Weights go to disk as soon as they are made, so that converting needs little more memory than the largest matrix. This
module knows ONNX and the weight types of `quant_blocks`; it must not know what a transformer is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgechat.convert.gguf.quant_blocks import F32, BlockWeight, DenseWeight, Weight

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"

# onnxruntime's own operators: MatMulNBits, GroupQueryAttention and so on.
_CONTRIB = "com.microsoft"
# Old enough for any onnxruntime with the operators above, new enough for the standard ones used.
_OPSET, _IR_VERSION = 21, 10
# Align weights to cache lines in the memory-mapped file.
_ALIGNMENT = 64
# Quantise activations to int8 per block; level 1 (float32) decodes at about a third of the speed.
_ACCURACY_LEVEL = 4
# Smaller initialisers stay in the model file, where shape inference can see them.
_INLINE_BYTES = 1024
# Newer kernels cache the data of one write as a single unit, and map all of it when any row of the embeddings is read:
# with large writes, a few dozen tokens made the whole table count as the worker's memory.
_WRITE_BYTES = 64 * 1024

# Block means are a product with a constant matrix while that is small; beyond this size pooling, which takes three
# operators, reads less.
_MEAN_MATRIX_BYTES = 1 << 17

_ELEMENT_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint16): TensorProto.BFLOAT16,  # numpy has no bfloat16; uint16 holds its bits
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
}


class GraphWriter:
    """Collects a graph and writes `model.onnx` and `model.onnx.data` into a folder.

    Use as a context manager, which closes the data file; `save` completes the model.
    """

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = out_dir
        self._data: BinaryIO = (out_dir / DATA_FILE).open("wb")
        self._nodes: list[Any] = []
        self._initialisers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[str, int | tuple[int, ...]], str] = {}
        self._block_means: dict[tuple[str, int], str] = {}
        self._mean_matrices: dict[tuple[int, int], str] = {}

    def __enter__(self) -> GraphWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    # Values

    def add_input(self, name: str, element_type: int, shape: list[int | str]) -> str:
        """Declare an input of the model; strings in the shape are free dimensions."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def add_output(self, name: str, element_type: int, shape: list[int | str]) -> str:
        """Declare an output of the model; a node must produce a value with that name."""
        self._outputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def constant(self, value: int | tuple[int, ...], *, dtype: str = "int64") -> str:
        """Return a named int64 (or int32) scalar or vector; equal ones are stored once."""
        key = (dtype, value)
        if key not in self._constants:
            name = f"/constants/{dtype}/{value}".replace(" ", "")
            self._constants[key] = self.initialiser(name, np.array(value, dtype=dtype))
        return self._constants[key]

    def initialiser(self, name: str, array: npt.NDArray[Any]) -> str:
        """Store an array under a name: small ones in the model, others in the data file."""
        tensor = TensorProto(name=name, data_type=_ELEMENT_TYPES[array.dtype], dims=array.shape)
        array = np.ascontiguousarray(array)
        if array.nbytes <= _INLINE_BYTES:
            tensor.raw_data = array.tobytes()
        else:
            offset = self._data.tell()
            offset += self._data.write(b"\0" * (-offset % _ALIGNMENT))
            data = array.reshape(-1).view(np.uint8).data
            for start in range(0, array.nbytes, _WRITE_BYTES):
                self._data.write(data[start : start + _WRITE_BYTES])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", DATA_FILE), ("offset", offset), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
        self._initialisers.append(tensor)
        return name

    # Operators

    def node(
        self, op: str, inputs: list[str], name: str, *, outputs: list[str] | None = None, **attributes: Any
    ) -> str:
        """Add a standard ONNX operator and return its first output, named after the node by default."""
        outputs = outputs or [f"{name}/output_0"]
        self._nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def contrib(
        self, op: str, inputs: list[str], name: str, *, outputs: list[str] | None = None, **attributes: Any
    ) -> str:
        """Add one of onnxruntime's own operators; otherwise like `node`."""
        return self.node(op, inputs, name, outputs=outputs, domain=_CONTRIB, **attributes)

    def linear(self, weight: Weight, source: str, name: str, *, output: str | None = None) -> str:
        """Multiply `source` [tokens, K] by a weight matrix: [tokens, N].

        Args:
            weight: The matrix; its parts are stored under `name`.
            source: The input value.
            name: Prefix of all names created.
            output: Name of the result, if it matters.
        """
        if isinstance(weight, DenseWeight):
            # MatMul expects [K, N]. A narrower type is widened when the session starts, because the product is in
            # float32.
            values = self._widened(self.initialiser(f"{name}.weight", weight.values.T), weight, name)
            return self.node("MatMul", [source, values], f"{name}/MatMul", outputs=_output_names(output))
        codes, scales = self._store_blocks(weight, name)
        remainder = None
        if weight.remainder is not None:
            # Turns block sums into means; the factor is a power of two, so this is exact.
            rest = weight.remainder.T * np.float32(weight.block)
            remainder = self.initialiser(f"{name}.remainder", rest)
        return self._blocks_product(weight, (codes, scales, remainder), source, name, output=output)

    def embedding(self, weight: Weight, ids: str, name: str) -> str:
        """Look up rows of a weight matrix by ids [tokens]: [tokens, K] in float32."""
        if isinstance(weight, DenseWeight):
            rows = self.node("Gather", [self.initialiser(f"{name}.weight", weight.values), ids], f"{name}/Gather")
            return self._widened(rows, weight, f"{name}/rows")
        codes, scales = self._store_blocks(weight, name)
        remainder = None if weight.remainder is None else self.initialiser(f"{name}.remainder", weight.remainder)
        # The codes keep MatMulNBits's three dimensions, with the block as the quantised axis, so that a tied head
        # shares them as they are. (Reshaping an initialiser would copy it into memory when the session starts.)
        last = self.constant((-1,))
        rows = self.contrib(
            "GatherBlockQuantized",
            [codes, ids, self.node("Unsqueeze", [scales, last], f"{name}/Scales")],
            f"{name}/Gather",
            bits=weight.bits,
            block_size=weight.block,
            gather_axis=0,
            quantize_axis=2,
        )
        if remainder is not None:
            rests = self.node("Gather", [remainder, ids], f"{name}/Remainders")
            rests = self.node("Unsqueeze", [rests, last], f"{name}/Remainders/Unsqueeze")
            rows = self.node("Add", [rows, rests], f"{name}/Add")
        return self.node("Reshape", [rows, self.constant((-1, weight.columns))], f"{name}/Reshape")

    def tied_linear(self, weight: Weight, stored: str, source: str, name: str, *, output: str | None = None) -> str:
        """Like `linear`, with the matrix that `embedding` stored under the name `stored`."""
        if isinstance(weight, DenseWeight):
            values = self._widened(f"{stored}.weight", weight, name)
            values = self.node("Transpose", [values], f"{name}/Transpose", perm=[1, 0])
            return self.node("MatMul", [source, values], f"{name}/MatMul", outputs=_output_names(output))
        remainder = None
        if weight.remainder is not None:
            block = self.initialiser(f"{name}.block", np.array(weight.block, np.float32))
            remainder = self.node("Transpose", [f"{stored}.remainder"], f"{name}/Transpose", perm=[1, 0])
            remainder = self.node("Mul", [remainder, block], f"{name}/Mul")
        parts = f"{stored}.codes", f"{stored}.scales", remainder
        return self._blocks_product(weight, parts, source, name, output=output)

    def _blocks_product(
        self, weight: BlockWeight, parts: tuple[str, str, str | None], source: str, name: str, *, output: str | None
    ) -> str:
        """Multiply by stored codes, scales and remainders; the latter are [K / block, N], times the block size."""
        codes, scales, remainder = parts
        product = self.contrib(
            "MatMulNBits",
            [source, codes, scales],
            f"{name}/MatMulNBits",
            outputs=_output_names(None if remainder else output),
            K=weight.columns,
            N=weight.rows,
            bits=weight.bits,
            block_size=weight.block,
            accuracy_level=_ACCURACY_LEVEL,
        )
        if remainder is None:
            return product
        # Float zero points are equivalent but a hundred times slower in onnxruntime 1.32. Gemm also adds, which
        # saves an operator: a tenth of a small model's time per token.
        inputs = [self._block_mean(source, weight), remainder, product]
        return self.node("Gemm", inputs, name, outputs=_output_names(output))

    def _block_mean(self, source: str, weight: BlockWeight) -> str:
        """Return the means of the input's blocks [tokens, K / block], shared by all matrices that read this input."""
        key = (source, weight.block)
        if key in self._block_means:
            return self._block_means[key]
        name, blocks = f"{source}/block_mean_{weight.block}", weight.columns // weight.block
        if 4 * weight.columns * blocks <= _MEAN_MATRIX_BYTES:
            means = self.node("MatMul", [source, self._mean_matrix(blocks, weight.block)], name)
        else:
            size = [weight.block]
            means = self.node("Reshape", [source, self.constant((1, -1, weight.columns))], f"{name}/Channels")
            means = self.node("AveragePool", [means], name, kernel_shape=size, strides=size)
            means = self.node("Reshape", [means, self.constant((-1, blocks))], f"{name}/Rows")
        self._block_means[key] = means
        return means

    def _mean_matrix(self, blocks: int, block: int) -> str:
        """[blocks * block, blocks]: 1 / block, a power of two, where the row is in the column's block, else 0."""
        if (blocks, block) not in self._mean_matrices:
            matrix = np.repeat(np.eye(blocks, dtype=np.float32), block, axis=0) / np.float32(block)
            self._mean_matrices[blocks, block] = self.initialiser(f"/constants/mean_{blocks}_{block}", matrix)
        return self._mean_matrices[blocks, block]

    def _store_blocks(self, weight: BlockWeight, name: str) -> tuple[str, str]:
        return self.initialiser(f"{name}.codes", weight.codes), self.initialiser(f"{name}.scales", weight.scales)

    def _widened(self, value: str, weight: DenseWeight, name: str) -> str:
        if weight.values.dtype == np.float32:
            return value
        return self.node("Cast", [value], f"{name}/Cast", to=TensorProto.FLOAT)

    def save(self, graph_name: str) -> None:
        """Write the model file and complete the data file.

        Raises:
            OSError: The disk is full or the folder is not writable.
        """
        self._data.close()
        graph = helper.make_graph(self._nodes, graph_name, self._inputs, self._outputs, self._initialisers)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="edgechat")
        onnx.save_model(model, str(self._out_dir / MODEL_FILE))


def rotary_tables(
    length: int, dimensions: int, base: float, *, factors: F32 | None = None, magnitude: float = 1.0
) -> tuple[F32, F32]:
    """Return the cosines and sines of a rotary embedding in the layout of GroupQueryAttention.

    Args:
        length: Number of positions.
        dimensions: Number of rotated values per head.
        base: The frequency base.
        factors: [dimensions / 2] divisors of the frequencies (LongRoPE, Llama 3), or None.
        magnitude: Factor applied to cosines and sines (LongRoPE's attention factor).

    Returns:
        Two float32 arrays [length, dimensions / 2].
    """
    # In float64: at position 8,000 a float32 angle is already wrong in the fourth digit.
    frequencies = np.exp(-math.log(base) * np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)
    if factors is not None:
        frequencies /= factors
    angles = np.outer(np.arange(length, dtype=np.float64), frequencies)
    return (np.cos(angles) * magnitude).astype(np.float32), (np.sin(angles) * magnitude).astype(np.float32)


def _output_names(output: str | None) -> list[str] | None:
    return None if output is None else [output]
