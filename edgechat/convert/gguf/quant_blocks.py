"""Converts GGUF weight blocks to `MatMulNBits` blocks without any rounding.

A GGUF block is `w = scale * code - minimum`; `MatMulNBits` computes `w = scale * (code - 2**(bits-1))`. Codes are
copied unchanged, scales become float32, and the rest of the affine part is a *remainder*, one number per block, which
the graph adds as `blockmean(X) @ (block * remainder)`. This module must never requantise.

Formats: ggml-common.h and ggml-quants.c of llama.cpp; `MatMulNBits` in onnxruntime's ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgechat.convert.gguf.header import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BlockWeight:
    """A weight matrix of N rows (outputs) and K columns (inputs) in `MatMulNBits` blocks.

    Attributes:
        bits: Bits per code: 4 or 8.
        block: Columns that share a scale: 16 or 32.
        codes: uint8 [N, K / block, block * bits / 8]; of two 4-bit codes in a byte, the low one comes first.
        scales: float32 [N, K / block].
        remainder: float32 [N, K / block] added to every weight of the block, or None if it is zero throughout.
    """

    bits: Literal[4, 8]
    block: int
    codes: U8
    scales: F32
    remainder: F32 | None = None

    @property
    def rows(self) -> int:
        """N, the number of outputs."""
        return int(self.codes.shape[0])

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return int(self.codes.shape[1]) * self.block

    def take_rows(self, order: npt.NDArray[np.intp]) -> BlockWeight:
        """Return the matrix with its rows reordered; exact, since a block never spans rows."""
        remainder = None if self.remainder is None else self.remainder[order]
        return BlockWeight(self.bits, self.block, self.codes[order], self.scales[order], remainder)

    def to_float(self) -> F32:
        """Return the weights as float32 [N, K], computed like the graph does. For tests and small matrices."""
        codes = self.codes
        if self.bits == 4:
            codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], self.block)
        centred = codes.astype(np.float32) - np.float32(1 << (self.bits - 1))
        weights = centred * self.scales[..., None]
        if self.remainder is not None:
            weights += self.remainder[..., None]
        return weights.reshape(self.rows, self.columns).astype(np.float32, copy=False)


@dataclass(frozen=True)
class DenseWeight:
    """An unquantised weight matrix.

    Attributes:
        values: [N, K] as float32, float16, or uint16 holding the bits of bfloat16.
    """

    values: npt.NDArray[np.float32] | npt.NDArray[np.float16] | npt.NDArray[np.uint16]

    @property
    def rows(self) -> int:
        """N, the number of outputs."""
        return int(self.values.shape[0])

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return int(self.values.shape[1])

    def take_rows(self, order: npt.NDArray[np.intp]) -> DenseWeight:
        """Return the matrix with its rows reordered."""
        return DenseWeight(self.values[order])

    def to_float(self) -> F32:
        """Return the weights as float32 [N, K]."""
        if self.values.dtype == np.uint16:
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        return self.values.astype(np.float32)


Weight = BlockWeight | DenseWeight


def stack_rows(weights: Sequence[Weight]) -> Weight | None:
    """Stack matrices that read the same input, so that one product serves them all.

    Returns:
        The stacked matrix, or None if they are stored differently and must stay separate.
    """
    first = weights[0]
    if len(weights) == 1:
        return first
    if isinstance(first, DenseWeight):
        dense = [w for w in weights if isinstance(w, DenseWeight) and w.values.dtype == first.values.dtype]
        return DenseWeight(np.concatenate([w.values for w in dense])) if len(dense) == len(weights) else None
    blocks = [w for w in weights if isinstance(w, BlockWeight) and (w.bits, w.block) == (first.bits, first.block)]
    remainders = [w.remainder for w in blocks if w.remainder is not None]
    if len(blocks) != len(weights) or len(remainders) not in (0, len(weights)):
        return None
    return BlockWeight(
        first.bits,
        first.block,
        np.concatenate([w.codes for w in blocks]),
        np.concatenate([w.scales for w in blocks]),
        np.concatenate(remainders) if remainders else None,
    )


def pack_nibbles(codes: U8) -> U8:
    """Pack 4-bit codes, one per byte, into two per byte along the last axis, low nibble first."""
    return codes[..., 0::2] | (codes[..., 1::2] << np.uint8(4))


def _half(raw: U8) -> F32:
    """Widen the two bytes on the last axis of [..., 2], little-endian float16, to float32; exact."""
    halves: F32 = np.ascontiguousarray(raw).view("<f2")[..., 0].astype(np.float32)
    return halves


def _spread(quants: U8) -> U8:
    """Expand the 16 bytes of a 32-block to 32 codes: low nibbles are the first half, high ones the second."""
    return np.concatenate([quants & 15, quants >> 4], axis=-1)


def _fifth_bits(raw: U8) -> U8:
    """Expand four bytes [..., 4] to the 32 high bits of a Q5 block, each already shifted to bit 4."""
    return np.unpackbits(raw, axis=-1, bitorder="little") << np.uint8(4)


def _q4_0(blocks: U8) -> BlockWeight:
    return BlockWeight(4, 32, pack_nibbles(_spread(blocks[..., 2:])), _half(blocks[..., :2]))


def _q4_1(blocks: U8) -> BlockWeight:
    scales, minimum = _half(blocks[..., :2]), _half(blocks[..., 2:4])
    codes = pack_nibbles(_spread(blocks[..., 4:]))
    # The kernel subtracts 8 from every code; the remainder adds 8 scales back.
    return BlockWeight(4, 32, codes, scales, minimum + 8 * scales)


def _q5_0(blocks: U8) -> BlockWeight:
    codes = _spread(blocks[..., 6:]) | _fifth_bits(blocks[..., 2:6])
    return BlockWeight(8, 32, codes + np.uint8(128 - 16), _half(blocks[..., :2]))


def _q5_1(blocks: U8) -> BlockWeight:
    scales, minimum = _half(blocks[..., :2]), _half(blocks[..., 2:4])
    codes = _spread(blocks[..., 8:]) | _fifth_bits(blocks[..., 4:8])
    # Codes are centred (0..31 becomes -16..15), so that the remainder is the block's midpoint and stays small.
    return BlockWeight(8, 32, codes + np.uint8(128 - 16), scales, minimum + 16 * scales)


def _q8_0(blocks: U8) -> BlockWeight:
    # Converting int8 to the kernel's offset-128 codes just flips the top bit.
    return BlockWeight(8, 32, np.ascontiguousarray(blocks[..., 2:]) ^ np.uint8(128), _half(blocks[..., :2]))


def _k_scales(packed: U8) -> tuple[F32, F32]:
    """Unpack the eight 6-bit scales and eight 6-bit minimums of a Q4_K or Q5_K super-block from its 12 bytes."""
    low, middle, high = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 2) & 48)], axis=-1)
    minimums = np.concatenate([middle & 63, (high >> 4) | ((middle >> 2) & 48)], axis=-1)
    return scales.astype(np.float32), minimums.astype(np.float32)


def _q45_k(blocks: U8, *, five: bool) -> BlockWeight:
    rows, supers = blocks.shape[:2]
    scales, minimums = _k_scales(blocks[..., 4:16])
    scales *= _half(blocks[..., 0:2])[..., None]
    minimums *= _half(blocks[..., 2:4])[..., None]
    # 64 values share 32 bytes: low nibbles are one sub-block, high nibbles the next.
    quants = blocks[..., 48:] if five else blocks[..., 16:]
    quants = quants.reshape(rows, supers, 4, 1, 32)
    codes = np.concatenate([quants & 15, quants >> 4], axis=-2).reshape(rows, supers, 8, 32)
    scales, minimums = scales.reshape(rows, -1), minimums.reshape(rows, -1)
    if not five:
        return BlockWeight(4, 32, pack_nibbles(codes).reshape(rows, -1, 16), scales, 8 * scales - minimums)
    # Bit i of byte j is the fifth bit of value j in sub-block i.
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    codes |= ((blocks[..., None, 16:48] >> shifts) & np.uint8(1)) << np.uint8(4)
    codes += np.uint8(128 - 16)
    return BlockWeight(8, 32, codes.reshape(rows, -1, 32), scales, 16 * scales - minimums)


def _q4_k(blocks: U8) -> BlockWeight:
    return _q45_k(blocks, five=False)


def _q5_k(blocks: U8) -> BlockWeight:
    return _q45_k(blocks, five=True)


def _q6_k(blocks: U8) -> BlockWeight:
    rows, supers = blocks.shape[:2]
    # Two halves of 128 values: 64 bytes of low nibbles and 32 bytes of high bit pairs each.
    low = blocks[..., :128].reshape(rows, supers, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=-2).reshape(rows, supers, 2, 4, 32)
    high = blocks[..., 128:192].reshape(rows, supers, 2, 1, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    codes = (low | (((high >> shifts) & np.uint8(3)) << np.uint8(4))) + np.uint8(128 - 32)
    scales = np.ascontiguousarray(blocks[..., 192:208]).view(np.int8).astype(np.float32)
    scales *= _half(blocks[..., 208:210])[..., None]
    return BlockWeight(8, 16, codes.reshape(rows, -1, 16), scales.reshape(rows, -1))


# The converter for each type, from the bytes of blocks [N, count, bytes].
_MAPPINGS = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
_DENSE_TYPES: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def from_gguf(raw: U8, type_name: str, shape: tuple[int, int]) -> Weight:
    """Convert the bytes of a GGUF tensor to a weight matrix.

    Args:
        raw: The tensor's bytes, in any shape.
        type_name: GGUF's name of the storage type, such as `Q4_1`; a key of `header.BLOCKS`.
        shape: (N, K): rows, and values per row, which form whole blocks.
    """
    rows, columns = shape
    if type_name in _DENSE_TYPES:
        return DenseWeight(raw.reshape(-1).view(_DENSE_TYPES[type_name]).reshape(rows, columns))
    values, size = BLOCKS[type_name]
    return _MAPPINGS[type_name](raw.reshape(rows, columns // values, size))
