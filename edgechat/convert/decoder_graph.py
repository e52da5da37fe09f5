"""The ONNX graph of a Llama- or Phi-3-type decoder, in the form onnxruntime-genai expects.

Both types share one graph: RMS norm, grouped-query attention with rotary positions, SiLU-gated MLP. They differ in the
rotary tables (LongRoPE) and in the source of the weights, which is up to the weight source: this module must not know
about GGUF or any other format. Only the last position passes through the end of the last layer and the head, since
nobody reads the logits of a prompt.

The form follows onnxruntime_genai/models/builders/base.py (`prune_lm_head`, GroupQueryAttention with `do_rotary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from onnx import TensorProto

from edgechat.convert.gguf.quant_blocks import F32, Weight, stack_rows
from edgechat.convert.onnx_writer import GraphWriter, rotary_tables
from edgechat.runtime.progress import FractionCallback

if TYPE_CHECKING:
    from pathlib import Path

DecoderType = Literal["llama", "phi3"]

_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Rope:
    """Rotary position parameters.

    Attributes:
        dimensions: Number of rotated values per head, starting from the first.
        base: The frequency base.
        factors: [dimensions / 2] divisors of the frequencies, or None. LongRoPE: those for short contexts.
        long_factors: LongRoPE's factors for contexts beyond `original_context`, or None.
        original_context: Context window of the original training; only used with `long_factors`.
        magnitude: Factor applied to cosines and sines.
    """

    dimensions: int
    base: float = 10000.0
    factors: F32 | None = None
    long_factors: F32 | None = None
    original_context: int = 0
    magnitude: float = 1.0


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder.

    Attributes:
        type: The model type in onnxruntime-genai.
        layers: Number of decoder layers.
        hidden: Width of the residual stream.
        heads: Number of query heads.
        kv_heads: Number of key and value heads; divides `heads`.
        head_size: Width of a head.
        vocabulary: Rows of the embedding.
        context_length: Context window in tokens.
        epsilon: Epsilon of every RMS norm.
        rope: Rotary position parameters.
        window: Sliding attention window in tokens, including the current one; 0 for full attention.
    """

    type: DecoderType
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_length: int
    epsilon: float
    rope: Rope
    window: int = 0


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one decoder layer; matrices are [outputs, inputs].

    Attributes:
        attention_norm: [hidden].
        attention_in: Queries, keys and values: three matrices, or one with their rows in this order.
        attention_out: [hidden, heads * head_size].
        mlp_norm: [hidden].
        mlp_in: Gate and up: two matrices, or one with their rows in this order.
        mlp_out: [hidden, inner].
    """

    attention_norm: F32
    attention_in: Sequence[Weight]
    attention_out: Weight
    mlp_norm: F32
    mlp_in: Sequence[Weight]
    mlp_out: Weight


class WeightSource(Protocol):
    """Provides the weights. Each method is called once per matrix, in graph order, and results are not retained."""

    def embedding(self) -> Weight:
        """[vocabulary, hidden]."""

    def layer(self, index: int) -> LayerWeights:
        """Return the weights of a layer, counted from 0."""

    def final_norm(self) -> F32:
        """[hidden]."""

    def head(self) -> Weight | None:
        """[vocabulary, hidden], or None if the head shares the embedding."""


def write_decoder(config: DecoderConfig, weights: WeightSource, out_dir: Path, on_progress: FractionCallback) -> None:
    """Write `model.onnx` and `model.onnx.data`.

    Args:
        config: The decoder's shape.
        weights: The decoder's weights.
        out_dir: An existing folder.
        on_progress: Called with a fraction from 0 to 1 and a short phrase.

    Raises:
        OSError: The disk is full or the folder is not writable.
    """
    with GraphWriter(out_dir) as graph:
        _Decoder(graph, config).write(weights, on_progress)
        graph.save(f"edgechat-{config.type}")


class _Decoder:
    """One graph being written.

    Values are [tokens, columns], with batch and sequence merged into one axis except in attention: Gemm, which adds the
    remainders of exact weights, supports only two dimensions.
    """

    def __init__(self, graph: GraphWriter, config: DecoderConfig) -> None:
        self._graph = graph
        self._config = config
        ids = graph.add_input("input_ids", _INT64, ["batch_size", "sequence_length"])
        mask = graph.add_input("attention_mask", _INT64, ["batch_size", "total_sequence_length"])
        self._ids = graph.node("Reshape", [ids, graph.constant((-1,))], "/ids/Reshape")
        self._batch = graph.node("Shape", [ids], "/ids/Shape")
        self._batched_shapes: dict[int, str] = {}
        self._past_lengths, self._total_length, total = self._lengths(mask)
        self._cos, self._sin = self._rotary(total)

    def write(self, weights: WeightSource, on_progress: FractionCallback) -> None:
        graph, config = self._graph, self._config
        embedding = weights.embedding()
        _expect(embedding, config.vocabulary, config.hidden)
        hidden = graph.embedding(embedding, self._ids, "model.embed_tokens")
        # The last layer's MLP output is added to the residual stream by the norm that follows.
        addend: str | None = None
        for index in range(config.layers):
            on_progress(index / config.layers, f"layer {index + 1} of {config.layers}")
            hidden, addend = self._layer(index, weights.layer(index), hidden, addend)
        normed, _ = self._norm("model.norm", weights.final_norm(), hidden, addend)
        head = weights.head()
        if head is None:
            rows = graph.tied_linear(embedding, "model.embed_tokens", normed, "lm_head")
        else:
            _expect(head, config.vocabulary, config.hidden)
            rows = graph.linear(head, normed, "lm_head")
        logits = graph.add_output("logits", _FLOAT, ["batch_size", 1, config.vocabulary])
        graph.node("Unsqueeze", [rows, graph.constant((1,))], "lm_head/Unsqueeze", outputs=[logits])
        on_progress(1.0, "graph")

    def _layer(self, index: int, weights: LayerWeights, hidden: str, addend: str | None) -> tuple[str, str]:
        """Add one layer; return the residual stream and what is still to be added to it."""
        graph, config, name = self._graph, self._config, f"model.layers.{index}"
        normed, hidden = self._norm(f"{name}.input_layernorm", weights.attention_norm, hidden, addend)
        attended = self._attention(index, weights.attention_in, normed)
        if index == config.layers - 1:
            # From here on each position depends only on itself, and only the last one is needed.
            last, stream = graph.constant(-1), self._batched(hidden, config.hidden, f"{name}.last_position")
            attended = graph.node("Gather", [attended, last], f"{name}.last_position/attention", axis=1)
            hidden = graph.node("Gather", [stream, last], f"{name}.last_position/residual", axis=1)
        else:
            rows = graph.constant((-1, config.heads * config.head_size))
            attended = graph.node("Reshape", [attended, rows], f"{name}.attn/Rows")
        _expect(weights.attention_out, config.hidden, config.heads * config.head_size)
        projected = graph.linear(weights.attention_out, attended, f"{name}.attn.o_proj")
        normed, hidden = self._norm(f"{name}.post_attention_layernorm", weights.mlp_norm, hidden, projected)
        gate, up = self._gate_and_up(name, weights, normed)
        sigmoid = graph.node("Sigmoid", [gate], f"{name}.mlp/Sigmoid")
        silu = graph.node("Mul", [gate, sigmoid], f"{name}.mlp/SiLU")
        inner = graph.node("Mul", [silu, up], f"{name}.mlp/Mul")
        return hidden, graph.linear(weights.mlp_out, inner, f"{name}.mlp.down_proj")

    def _norm(self, name: str, scale: F32, hidden: str, addend: str | None) -> tuple[str, str]:
        """Add to the residual stream and normalise it; return the norm and the new residual stream."""
        weight = self._graph.initialiser(f"{name}.weight", scale)
        epsilon = self._config.epsilon
        if addend is None:
            # onnxruntime's own operator, despite being in the ONNX domain.
            normed = self._graph.node(
                "SimplifiedLayerNormalization", [hidden, weight], name, axis=-1, epsilon=epsilon, stash_type=1
            )
            return normed, hidden
        outputs = [f"{name}/output_0", "", "", f"{name}/output_3"]
        self._graph.contrib(
            "SkipSimplifiedLayerNormalization", [hidden, addend, weight], name, outputs=outputs, epsilon=epsilon
        )
        return outputs[0], outputs[3]

    def _attention(self, index: int, weights: Sequence[Weight], normed: str) -> str:
        """From [tokens, hidden] to [batch, sequence, heads * head_size]."""
        graph, config, name = self._graph, self._config, f"model.layers.{index}.attn"
        rows = [config.heads * config.head_size, *[config.kv_heads * config.head_size] * 2]
        if len(weights) == 3:
            for weight, count in zip(weights, rows, strict=True):
                _expect(weight, count, config.hidden)
        fused = stack_rows(weights)
        if fused is not None:
            _expect(fused, sum(rows), config.hidden)
            queries = self._batched(graph.linear(fused, normed, f"{name}.qkv_proj"), fused.rows, f"{name}.qkv_proj")
            keys = values = ""
        else:
            queries, keys, values = (
                self._batched(graph.linear(weight, normed, stem), weight.rows, stem)
                for weight, stem in zip(weights, (f"{name}.{part}_proj" for part in "qkv"), strict=True)
            )
        cache: list[int | str] = ["batch_size", config.kv_heads, "past_sequence_length", config.head_size]
        past = [graph.add_input(f"past_key_values.{index}.{kind}", _FLOAT, cache) for kind in ("key", "value")]
        cache = [*cache[:2], "total_sequence_length", config.head_size]
        present = [graph.add_output(f"present.{index}.{kind}", _FLOAT, cache) for kind in ("key", "value")]
        return graph.contrib(
            "GroupQueryAttention",
            [queries, keys, values, *past, self._past_lengths, self._total_length, self._cos, self._sin],
            name,
            outputs=[f"{name}/output_0", *present],
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
            local_window_size=config.window or -1,
        )

    def _gate_and_up(self, name: str, weights: LayerWeights, normed: str) -> tuple[str, str]:
        graph, inner = self._graph, weights.mlp_out.columns
        _expect(weights.mlp_out, self._config.hidden, inner)
        if len(weights.mlp_in) == 2:
            for weight in weights.mlp_in:
                _expect(weight, inner, self._config.hidden)
        fused = stack_rows(weights.mlp_in)
        if fused is None:
            gate, up = weights.mlp_in
            return graph.linear(gate, normed, f"{name}.mlp.gate_proj"), graph.linear(up, normed, f"{name}.mlp.up_proj")
        _expect(fused, 2 * inner, self._config.hidden)
        both = graph.linear(fused, normed, f"{name}.mlp.gate_up_proj")
        split = [f"{name}.mlp/gate", f"{name}.mlp/up"]
        graph.node("Split", [both], f"{name}.mlp/Split", outputs=split, axis=-1, num_outputs=2)
        return split[0], split[1]

    def _batched(self, rows: str, columns: int, name: str) -> str:
        """[tokens, columns] as [batch, sequence, columns]."""
        graph = self._graph
        if columns not in self._batched_shapes:
            parts = [self._batch, graph.constant((columns,))]
            self._batched_shapes[columns] = graph.node("Concat", parts, f"/ids/Shape_{columns}", axis=0)
        return graph.node("Reshape", [rows, self._batched_shapes[columns]], f"{name}/Batched")

    def _lengths(self, mask: str) -> tuple[str, str, str]:
        """Derive the inputs of GroupQueryAttention from the mask.

        Returns:
            int32 [batch] with the position of each sequence's last token, and the total length as an int32 scalar and
            as int64 [1].
        """
        graph = self._graph
        counts = graph.node("ReduceSum", [mask, graph.constant((1,))], "/mask/ReduceSum", keepdims=0)
        lasts = graph.node("Sub", [counts, graph.constant((1,))], "/mask/Sub")
        shape = graph.node("Shape", [mask], "/mask/Shape")
        total = graph.node("Gather", [shape, graph.constant((1,))], "/mask/Length")
        scalar = graph.node("Squeeze", [total], "/mask/Squeeze")
        return (
            graph.node("Cast", [lasts], "/mask/Lasts", to=TensorProto.INT32),
            graph.node("Cast", [scalar], "/mask/Total", to=TensorProto.INT32),
            total,
        )

    def _rotary(self, total: str) -> tuple[str, str]:
        """Return the rotary tables; with LongRoPE those for the total length (int64 [1])."""
        graph, config, rope = self._graph, self._config, self._config.rope
        short_length = rope.original_context if rope.long_factors is not None else config.context_length
        tables = rotary_tables(short_length, rope.dimensions, rope.base, factors=rope.factors, magnitude=rope.magnitude)
        if rope.long_factors is None:
            return graph.initialiser("cos_cache", tables[0]), graph.initialiser("sin_cache", tables[1])
        longs = rotary_tables(
            config.context_length, rope.dimensions, rope.base, factors=rope.long_factors, magnitude=rope.magnitude
        )
        # A single table has the short rows followed by the long ones, and a step copies just the rows it needs. (An If
        # with both tables as constants, as in the official builder, copies a whole table at every step.)
        limit = graph.constant((short_length,))
        is_long = graph.node("Greater", [total, limit], "/rope/Greater")
        start = graph.node("Where", [is_long, limit, graph.constant((0,))], "/rope/Start")
        end = graph.node("Add", [start, total], "/rope/End")
        sliced = []
        for name, short, long in zip(("cos", "sin"), tables, longs, strict=True):
            table = graph.initialiser(f"{name}_cache", np.concatenate([short, long]))
            sliced.append(graph.node("Slice", [table, start, end, graph.constant((0,))], f"/rope/{name}"))
        return sliced[0], sliced[1]


def _expect(weight: Weight, rows: int, columns: int) -> None:
    """Check the shape of a matrix, since a wrong one would otherwise fail deep in the engine.

    Raises:
        ValueError: The shape is wrong; the message has both. Sources that read files check first and name the tensor.
    """
    if (weight.rows, weight.columns) != (rows, columns):
        raise ValueError(f"weight of {weight.rows} x {weight.columns} where {rows} x {columns} is needed")
