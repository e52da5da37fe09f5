"""A decoder in plain numpy, float32, read straight from a GGUF file: what conversions are measured against.

It shares nothing with the converter: weights are dequantised by the gguf package, and rotary positions are applied in
GGUF's own row order (neighbours for llama, halves for phi3), so a wrong permutation cannot cancel out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf.quants import dequantize

if TYPE_CHECKING:
    from pathlib import Path

F32 = npt.NDArray[np.float32]


class Reference:
    """A GGUF model held as dequantised float32."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.fields: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
        self.architecture = self.fields["general.architecture"]

    def get(self, key: str, default: Any = None) -> Any:
        return self.fields.get(f"{self.architecture}.{key}", default)

    def weight(self, name: str) -> F32:
        tensor = self.tensors[name]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def logits(self, ids: list[int]) -> F32:
        """Logits after each of the ids: [len(ids), vocabulary]."""
        embedding = self.weight("token_embd.weight")
        hidden = embedding[ids]
        for index in range(self.get("block_count")):
            hidden = self._layer(f"blk.{index}", hidden)
        hidden = self._norm("output_norm.weight", hidden)
        head = self.weight("output.weight") if "output.weight" in self.tensors else embedding
        return np.asarray(hidden @ head.T, dtype=np.float32)

    def _norm(self, name: str, hidden: F32) -> F32:
        mean = np.mean(hidden.astype(np.float64) ** 2, axis=-1, keepdims=True)
        normed = hidden / np.sqrt(mean + self.get("attention.layer_norm_rms_epsilon"))
        return np.asarray(normed * self.weight(name), dtype=np.float32)

    def _layer(self, stem: str, hidden: F32) -> F32:
        normed = self._norm(f"{stem}.attn_norm.weight", hidden)
        heads = self.get("attention.head_count")
        kv_heads = self.get("attention.head_count_kv", heads)
        if f"{stem}.attn_qkv.weight" in self.tensors:
            fused = normed @ self.weight(f"{stem}.attn_qkv.weight").T
            size = fused.shape[-1] // (heads + 2 * kv_heads)
            queries, keys, values = np.split(fused, [heads * size, (heads + kv_heads) * size], axis=-1)
        else:
            queries, keys, values = (normed @ self.weight(f"{stem}.attn_{part}.weight").T for part in "qkv")
            size = queries.shape[-1] // heads
        attended = self._attention(
            *(part.reshape(len(hidden), -1, size).swapaxes(0, 1) for part in (queries, keys, values))
        )
        hidden = hidden + attended @ self.weight(f"{stem}.attn_output.weight").T
        normed = self._norm(f"{stem}.ffn_norm.weight", hidden)
        up = normed @ self.weight(f"{stem}.ffn_up.weight").T
        if f"{stem}.ffn_gate.weight" in self.tensors:
            gate = normed @ self.weight(f"{stem}.ffn_gate.weight").T
        else:
            gate, up = np.split(up, 2, axis=-1)
        inner = gate / (1 + np.exp(-gate)) * up
        return np.asarray(hidden + inner @ self.weight(f"{stem}.ffn_down.weight").T, dtype=np.float32)

    def _attention(self, queries: F32, keys: F32, values: F32) -> F32:
        """From [heads, positions, size] each to [positions, heads * size]."""
        heads, count, size = queries.shape
        queries, keys = self._rotate(queries), self._rotate(keys)
        keys, values = (np.repeat(part, heads // len(part), axis=0) for part in (keys, values))
        scores = queries @ keys.swapaxes(1, 2) / np.sqrt(size)
        place = np.arange(count)
        hidden = place[None, :] > place[:, None]
        window = self.get("attention.sliding_window", 0)
        if window:
            hidden |= place[None, :] <= place[:, None] - window
        scores[:, hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.asarray((scores @ values).swapaxes(0, 1).reshape(count, -1), dtype=np.float32)

    def _rotate(self, part: F32) -> F32:
        """Rotary positions 0, 1, ... of [heads, positions, size]."""
        count, size = part.shape[1:]
        turned = self.get("rope.dimension_count", size)
        frequencies = self.get("rope.freq_base", 10000.0) ** (-np.arange(0, turned, 2) / turned)
        magnitude = 1.0
        original = self.get("rope.scaling.original_context_length")
        if "rope_freqs.weight" in self.tensors:
            frequencies = frequencies / self.weight("rope_freqs.weight")
        if self.get("rope.scaling.type") == "linear":
            frequencies = frequencies / self.get("rope.scaling.factor")
        if original:
            name = "rope_factors_long.weight" if count > original else "rope_factors_short.weight"
            frequencies = frequencies / self.weight(name)
            magnitude = self.get("rope.scaling.attn_factor")
        angles = np.arange(count)[:, None] * frequencies
        cos, sin = np.cos(angles) * magnitude, np.sin(angles) * magnitude
        turning = part[..., :turned]
        if self.architecture == "llama":
            first, second = turning[..., 0::2], turning[..., 1::2]
        else:
            first, second = np.split(turning, 2, axis=-1)
        rotated = first * cos - second * sin, first * sin + second * cos
        result = part.copy()
        if self.architecture == "llama":
            result[..., 0::2], result[..., 1::2] = rotated
        else:
            result[..., :turned] = np.concatenate(rotated, axis=-1)
        return result


def divergence(reference: F32, other: F32) -> tuple[float, float]:
    """Compares two sets of logits [positions, vocabulary].

    Returns:
        The mean of KL(reference || other) in nats, and the share of positions with the same most likely token.
    """
    logs = [_log_softmax(logits.astype(np.float64)) for logits in (reference, other)]
    divergences = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=-1)
    same = reference.argmax(axis=-1) == other.argmax(axis=-1)
    return float(divergences.mean()), float(same.mean())


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
