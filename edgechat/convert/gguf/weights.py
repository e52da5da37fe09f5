"""A GGUF file as a decoder: its metadata as a `DecoderConfig`, its tensors as a weight source.

Everything a file claims is checked here against the needs of the graph, with errors that name the key or tensor. A
tensor or setting that the graph would ignore is an error too: a model that answers almost correctly is worse than none.

Names and conventions: gguf-py/gguf/constants.py and src/llama-model.cpp of llama.cpp.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgechat.chat.sanitize import one_line as shown
from edgechat.convert.decoder_graph import DecoderConfig, DecoderType, LayerWeights, Rope
from edgechat.convert.gguf.header import GgufHeader, TensorInfo, malformed
from edgechat.convert.gguf.quant_blocks import F32, BlockWeight, Weight, from_gguf
from edgechat.errors import ConvertError
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A rotary table with this many positions is 67 MB for heads of 128; no machine has memory for a KV cache that long.
_MAX_CONTEXT = 131_072
# Limits for values that no tensor bounds: without them a 2 MB file took 8 GB of memory, and norms or rotations that are
# not finite make a model that answers nothing.
_MAX_ROTARY_VALUES = _MAX_CONTEXT * 128  # positions times half the rotated values of a head
_MAX_EPSILON, _MAX_FACTOR, _MAX_BASE = 1.0, 1e6, 1e12
# Tensors the graph does not need: old files store the rotary frequencies, which follow from the metadata.
_IGNORED_ENDINGS = ("attn_rot_embd.weight", "rotary_emb.inv_freq")


class GgufDecoder:
    """The weight source of a memory-mapped GGUF file; a matrix is in memory only while it is converted.

    Attributes:
        config: The decoder's shape.
    """

    def __init__(self, source: Path, header: GgufHeader, architecture: DecoderType) -> None:
        """Check metadata and tensors.

        Raises:
            ConvertError: A key or tensor is missing, has the wrong shape, or requires something the graph does not
                support.
        """
        self._header = header
        self._data: npt.NDArray[np.uint8] = np.memmap(source, dtype=np.uint8, mode="r")
        self._layer_names: set[str] = set()
        self.config = self._read_config(architecture)
        needed = dict(self._needed())
        unknown = [name for name in header.tensors if name not in needed and not name.endswith(_IGNORED_ENDINGS)]
        if unknown:
            raise ConvertError(
                "Unsupported model",
                Sentence(
                    "The file holds tensor {unknown}, which a plain {architecture} decoder does not have.",
                    unknown=shown(unknown[0]),
                    architecture=architecture,
                ),
            )

    def embedding(self) -> Weight:
        """[vocabulary, hidden]."""
        return self._matrix("token_embd.weight")

    def layer(self, index: int) -> LayerWeights:
        """Return the weights of a layer, counted from 0."""
        stem, config = f"blk.{index}", self.config
        if f"{stem}.attn_qkv.weight" in self._header.tensors:
            attention_in = [self._matrix(f"{stem}.attn_qkv.weight")]
        else:
            attention_in = [self._matrix(f"{stem}.attn_{part}.weight") for part in "qkv"]
            if config.type == "llama":
                for place, heads in enumerate((config.heads, config.kv_heads)):
                    attention_in[place] = attention_in[place].take_rows(rotary_order(heads, config.head_size))
        fused = f"{stem}.ffn_gate.weight" not in self._header.tensors
        return LayerWeights(
            attention_norm=self._vector(f"{stem}.attn_norm.weight"),
            attention_in=attention_in,
            attention_out=self._matrix(f"{stem}.attn_output.weight"),
            mlp_norm=self._vector(f"{stem}.ffn_norm.weight"),
            mlp_in=[self._matrix(f"{stem}.ffn_{part}.weight") for part in (["up"] if fused else ["gate", "up"])],
            mlp_out=self._matrix(f"{stem}.ffn_down.weight"),
        )

    def final_norm(self) -> F32:
        """[hidden]."""
        return self._vector("output_norm.weight")

    def head(self) -> Weight | None:
        """[vocabulary, hidden], or None if the head shares the embedding."""
        return self._matrix("output.weight") if "output.weight" in self._header.tensors else None

    def _read_config(self, architecture: DecoderType) -> DecoderConfig:
        header = self._header
        if header.integer(f"{architecture}.expert_count", 0) > 0:
            raise ConvertError("Unsupported model", "Mixture-of-experts models are not supported.")
        embedding = self._info("token_embd.weight")
        if len(embedding.shape) != 2:
            raise malformed("Tensor token_embd.weight is no matrix.")
        vocabulary, hidden = embedding.shape
        heads = self._positive(f"{architecture}.attention.head_count")
        kv_heads = self._positive(f"{architecture}.attention.head_count_kv", heads)
        head_size = self._positive(f"{architecture}.attention.key_length", hidden // heads)
        if self._positive(f"{architecture}.attention.value_length", head_size) != head_size:
            raise ConvertError("Unsupported model", "Its keys and values differ in length.")
        if heads % kv_heads or head_size % 2 or hidden != self._positive(f"{architecture}.embedding_length"):
            raise malformed(f"{heads} heads, {kv_heads} key heads of {head_size} and {hidden} values do not agree.")
        context = min(self._positive(f"{architecture}.context_length"), _MAX_CONTEXT)
        window = header.integer(f"{architecture}.attention.sliding_window", 0)
        return DecoderConfig(
            type=architecture,
            layers=self._positive(f"{architecture}.block_count"),
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            vocabulary=vocabulary,
            context_length=context,
            epsilon=self._within(f"{architecture}.attention.layer_norm_rms_epsilon", 0.0, _MAX_EPSILON),
            rope=self._rope(architecture, head_size, context),
            window=window if 0 < window < context else 0,
        )

    def _rope(self, architecture: DecoderType, head_size: int, context: int) -> Rope:
        header, stem = self._header, f"{architecture}.rope"
        dimensions = self._positive(f"{stem}.dimension_count", head_size)
        # The rows of llama-type files are permuted over whole heads, so only whole heads can be rotated; and
        # GroupQueryAttention only accepts tables of 8, 16, 24, ... columns.
        if dimensions > head_size or dimensions % 16 or (architecture == "llama" and dimensions != head_size):
            raise ConvertError(
                "Unsupported model",
                Sentence(
                    "It rotates {dimensions} of {head_size} values of a head.",
                    dimensions=dimensions,
                    head_size=head_size,
                ),
            )
        if context * dimensions > 2 * _MAX_ROTARY_VALUES:
            raise malformed(f"Rotating {dimensions} values of a head at {context:,} positions makes no sense.")
        base = header.number(f"{stem}.freq_base", 10000.0)
        if not 1 < base <= _MAX_BASE:
            raise malformed(f"A rotary base of {base} makes no sense.")
        factors, longs = self._factors("rope_freqs", dimensions), self._factors("rope_factors_long", dimensions)
        scaling = header.text(f"{stem}.scaling.type") or "none"
        scale = header.number(f"{stem}.scaling.factor", header.number(f"{stem}.scale_linear", 1.0))
        if not 0 <= scale <= _MAX_FACTOR or (scaling == "linear" and scale == 0):
            raise malformed(f"A rotary scaling factor of {scale} makes no sense.")
        if scaling == "linear" or (scaling == "none" and scale not in (0.0, 1.0)):
            factors = (np.ones(dimensions // 2, np.float32) if factors is None else factors) * np.float32(scale)
        elif scaling not in ("none", "longrope"):
            raise ConvertError(
                "Unsupported model", Sentence("Its rotary scaling is of type {scaling}.", scaling=shown(scaling))
            )
        if longs is None:
            return Rope(dimensions, base, factors)
        original = min(self._positive(f"{stem}.scaling.original_context_length"), context)
        # Hugging Face's default if the file does not say; the full context, even if it is limited here.
        stretch = min(header.integer(f"{architecture}.context_length"), _MAX_BASE) / original
        magnitude = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 < original else 1.0
        return Rope(
            dimensions,
            base,
            self._factors("rope_factors_short", dimensions),
            longs if context > original else None,
            original,
            self._within(f"{stem}.scaling.attn_factor", 0.0, _MAX_FACTOR, magnitude),
        )

    def _factors(self, name: str, dimensions: int) -> F32 | None:
        if f"{name}.weight" not in self._header.tensors:
            return None
        factors = self._vector(f"{name}.weight")
        if factors.shape != (dimensions // 2,) or not (factors > 0).all():
            raise malformed(f"Tensor {name}.weight does not hold {dimensions // 2} positive factors.")
        return factors

    def _needed(self) -> Iterator[tuple[str, TensorInfo]]:
        """Yield every tensor the graph reads, with its shape checked."""
        config = self.config
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        present = self._header.tensors
        yield self._checked("token_embd.weight", config.vocabulary, config.hidden)
        yield self._checked("output_norm.weight", config.hidden)
        if "output.weight" in present:
            yield self._checked("output.weight", config.vocabulary, config.hidden)
        for name in ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"):
            if name in present:
                yield name, present[name]
        for index in range(config.layers):
            stem = f"blk.{index}"
            inner = self._info(f"{stem}.ffn_down.weight").shape[-1]
            yield self._checked(f"{stem}.ffn_down.weight", config.hidden, inner)
            if config.type == "phi3" and f"{stem}.ffn_gate.weight" not in present:
                yield self._checked(f"{stem}.ffn_up.weight", 2 * inner, config.hidden)
            else:
                yield self._checked(f"{stem}.ffn_gate.weight", inner, config.hidden)
                yield self._checked(f"{stem}.ffn_up.weight", inner, config.hidden)
            if config.type == "phi3" and f"{stem}.attn_qkv.weight" in present:
                yield self._checked(f"{stem}.attn_qkv.weight", queries + 2 * keys, config.hidden)
            else:
                yield self._checked(f"{stem}.attn_q.weight", queries, config.hidden)
                yield self._checked(f"{stem}.attn_k.weight", keys, config.hidden)
                yield self._checked(f"{stem}.attn_v.weight", keys, config.hidden)
            yield self._checked(f"{stem}.attn_output.weight", config.hidden, queries)
            yield self._checked(f"{stem}.attn_norm.weight", config.hidden)
            yield self._checked(f"{stem}.ffn_norm.weight", config.hidden)

    def _checked(self, name: str, *shape: int) -> tuple[str, TensorInfo]:
        info = self._info(name)
        if info.shape != shape:
            sizes = (" x ".join(map(str, sides)) for sides in (info.shape, shape))
            raise malformed("Tensor {} is {} where {} is needed.".format(name, *sizes))
        return name, info

    def _info(self, name: str) -> TensorInfo:
        if name not in self._header.tensors:
            raise malformed(f"Tensor {name} is missing.")
        return self._header.tensors[name]

    def _positive(self, key: str, default: int | None = None) -> int:
        value = self._header.integer(key, default)
        if value <= 0:
            raise malformed(f"The metadata key {key} is {value}.")
        return value

    def _within(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self._header.number(key, default)
        if not low <= value <= high:
            raise malformed(f"The metadata key {key} is {value}.")
        return value

    def _raw(self, info: TensorInfo) -> npt.NDArray[np.uint8]:
        return self._data[info.offset : info.offset + info.size]

    def _matrix(self, name: str) -> Weight:
        info = self._info(name)
        # NaN and infinity in a damaged file are reported below, not by numpy.
        with np.errstate(invalid="ignore", over="ignore"):
            weight = from_gguf(self._raw(info), info.type, (info.shape[0], info.shape[1]))
        parts = (weight.scales, weight.remainder) if isinstance(weight, BlockWeight) else (weight.values,)
        if not all(part is None or _finite(part) for part in parts):
            raise malformed(f"Tensor {name} holds values that are no numbers.")
        return weight

    def _vector(self, name: str) -> F32:
        info = self._info(name)
        with np.errstate(invalid="ignore", over="ignore"):
            values = from_gguf(self._raw(info), info.type, (1, math.prod(info.shape))).to_float().reshape(-1)
        if not _finite(values):
            raise malformed(f"Tensor {name} holds values that are no numbers.")
        return values


def _finite(values: npt.NDArray[Any]) -> bool:
    if values.dtype == np.uint16:  # bfloat16 bits; the exponent of NaN and infinity is all ones
        return not bool(((values & 0x7F80) == 0x7F80).any())
    return bool(np.isfinite(values).all())


def rotary_order(heads: int, head_size: int) -> npt.NDArray[np.intp]:
    """Return the order of rows that restores a llama-type query or key matrix to its author's layout.

    llama.cpp rotates neighbouring values, so its converter interleaves the two halves of every head; onnxruntime
    rotates the halves against each other, as the author's code does.
    """
    return np.arange(heads * head_size).reshape(heads, head_size // 2, 2).swapaxes(1, 2).reshape(-1)
