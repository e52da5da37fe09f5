"""GGUF files of a few layers with random weights in any storage type, written with the gguf package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKENS = [*(f"<0x{byte:02X}>" for byte in range(256)), "<unk>", "<s>", "</s>", "<|end|>"]
# Where the fp16 scales of a block are: those of the K types cannot be written by the gguf package.
_SCALE_OFFSETS = {Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}


def random_blocks(rng: np.random.Generator, shape: tuple[int, int], kind: Type) -> npt.NDArray[np.uint8]:
    """Bytes of a tensor [rows, columns], every field random and the values about as large as a trained weight's."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    count = shape[1] // values
    if kind not in _SCALE_OFFSETS:
        return np.asarray(quantize(rng.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[1]), kind))
    blocks = rng.integers(0, 256, (shape[0], count, size), dtype=np.uint8)
    # A weight is a code of some 16 (6 bits: 32) steps times a sub-scale of some 32 (8 bits, signed: 64) steps.
    for offset in _SCALE_OFFSETS[kind]:
        scale = rng.uniform(0.5, 1.5, (shape[0], count, 1)) / (500 * np.sqrt(shape[1]))
        blocks[..., offset : offset + 2] = scale.astype(np.float16).view(np.uint8)
    return blocks.reshape(shape[0], -1)


def write_tiny_gguf(
    path: Path,
    architecture: str = "llama",
    kind: Type = Type.Q4_1,
    *,
    embedding: Type = Type.Q8_0,
    kinds: Mapping[str, Type] | None = None,
    hidden: int = 256,
    layers: int = 2,
    heads: int = 8,
    kv_heads: int = 4,
    inner: int = 512,
    context: int = 512,
    tied: bool = True,
    rotated: int | None = None,
    window: int = 0,
    original_context: int = 0,
    linear_scaling: float = 0.0,
    frequency_factors: bool = False,
    extra: Mapping[str, tuple[int, ...]] | None = None,
    tokens: list[str] | None = None,
    seed: int = 0,
) -> Path:
    """Writes a file with the tensors and metadata of a real one.

    Args:
        path: Where to.
        architecture: `llama`, `phi3` or, to be refused, another.
        kind: Storage type of all matrices but the embedding and the head.
        embedding: Storage type of those two.
        kinds: Other storage types, by a part of the tensor's name.
        original_context: With a number, LongRoPE's factors are written too.
        extra: More float32 tensors, by name.
    """
    rng = np.random.default_rng(seed)
    size = hidden // heads
    tokens = TOKENS if tokens is None else tokens
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(rotated or size)
    if window:
        writer.add_sliding_window(window)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([6] * 256 + [2, 3, 3, 3][: len(tokens) - 256])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_unk_token_id(256)

    def vector(name: str, values: npt.NDArray[np.float64]) -> None:
        writer.add_tensor(name, values.astype(np.float32))

    def matrix(name: str, rows: int, columns: int, kind: Type) -> None:
        kind = next((other for part, other in (kinds or {}).items() if part in name), kind)
        if kind in (Type.F32, Type.F16):
            values = rng.standard_normal((rows, columns)) / np.sqrt(columns)
            writer.add_tensor(name, values.astype(np.float32 if kind is Type.F32 else np.float16))
        else:
            writer.add_tensor(name, random_blocks(rng, (rows, columns), kind), raw_dtype=kind)

    if linear_scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(linear_scaling)
    if frequency_factors:
        vector("rope_freqs.weight", rng.uniform(1, 8, size // 2))
    if original_context:
        writer.add_rope_scaling_orig_ctx_len(original_context)
        writer.add_rope_scaling_attn_factors(1.19)
        vector("rope_factors_short.weight", rng.uniform(1, 1.5, (rotated or size) // 2))
        vector("rope_factors_long.weight", rng.uniform(2, 8, (rotated or size) // 2))
    matrix("token_embd.weight", len(tokens), hidden, embedding)
    vector("output_norm.weight", rng.uniform(0.5, 1.5, hidden))
    if not tied:
        matrix("output.weight", len(tokens), hidden, embedding)
    for index in range(layers):
        stem = f"blk.{index}"
        vector(f"{stem}.attn_norm.weight", rng.uniform(0.5, 1.5, hidden))
        vector(f"{stem}.ffn_norm.weight", rng.uniform(0.5, 1.5, hidden))
        matrix(f"{stem}.attn_output.weight", hidden, hidden, kind)
        matrix(f"{stem}.ffn_down.weight", hidden, inner, kind)
        if architecture == "phi3":
            matrix(f"{stem}.attn_qkv.weight", hidden + 2 * kv_heads * size, hidden, kind)
            matrix(f"{stem}.ffn_up.weight", 2 * inner, hidden, kind)
        else:
            matrix(f"{stem}.attn_q.weight", hidden, hidden, kind)
            matrix(f"{stem}.attn_k.weight", kv_heads * size, hidden, kind)
            matrix(f"{stem}.attn_v.weight", kv_heads * size, hidden, kind)
            matrix(f"{stem}.ffn_gate.weight", inner, hidden, kind)
            matrix(f"{stem}.ffn_up.weight", inner, hidden, kind)
    for name, shape in (extra or {}).items():
        vector(name, np.ones(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
