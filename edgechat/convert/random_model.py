"""Model folders with random weights: tiny ones for tests, Phi-3-mini- and SmolLM2-shaped ones for benchmarks.

They use the same graph as converted models, so they load, run and perform like those, but generate noise. Every weight
follows from the seed. Nothing here may reach a user as a model to talk to.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgechat.convert.decoder_graph import DecoderConfig, DecoderType, LayerWeights, Rope, write_decoder
from edgechat.convert.genai_config import END_NAMES, TokenIds, write_genai_config
from edgechat.convert.gguf.quant_blocks import F32, BlockWeight, Weight

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 32
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# Phi-3's control tokens, from id 256 on in the tokenizer made here.
_CONTROLS = ("<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)

PHI3_MINI = DecoderConfig(
    type="phi3",
    layers=32,
    hidden=3072,
    heads=32,
    kv_heads=32,
    head_size=96,
    vocabulary=32064,
    context_length=4096,
    epsilon=1e-5,
    rope=Rope(dimensions=96),
)
SMOLLM2_135M = DecoderConfig(
    type="llama",
    layers=30,
    hidden=576,
    heads=9,
    kv_heads=3,
    head_size=64,
    vocabulary=49152,
    context_length=8192,
    epsilon=1e-5,
    rope=Rope(dimensions=64, base=100000.0),
)
_PHI3_MINI_INNER, _SMOLLM2_INNER = 8192, 1536


@dataclass(frozen=True)
class RandomWeights:
    """A weight source of random symmetric int4 blocks with the magnitude of trained weights.

    Attributes:
        config: The decoder's shape.
        inner: Width of the MLP.
        seed: Seed of all weights.
        tied: One 8-bit matrix for embedding and head, as in the default model; otherwise two of 4 bits, as in Phi-3.
    """

    config: DecoderConfig
    inner: int
    seed: int = 0
    tied: bool = False

    def embedding(self) -> Weight:
        """[vocabulary, hidden]."""
        return self._matrix(-1, self.config.vocabulary, self.config.hidden, bits=8 if self.tied else 4)

    def layer(self, index: int) -> LayerWeights:
        """Return the weights of a layer, counted from 0."""
        config = self.config
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        return LayerWeights(
            attention_norm=self.final_norm(),
            attention_in=[self._matrix(4 * index, queries + 2 * keys, config.hidden)],
            attention_out=self._matrix(4 * index + 1, config.hidden, queries),
            mlp_norm=self.final_norm(),
            mlp_in=[self._matrix(4 * index + 2, 2 * self.inner, config.hidden)],
            mlp_out=self._matrix(4 * index + 3, config.hidden, self.inner),
        )

    def final_norm(self) -> F32:
        """[hidden]."""
        return np.ones(self.config.hidden, np.float32)

    def head(self) -> Weight | None:
        """[vocabulary, hidden], or None if the head shares the embedding."""
        return None if self.tied else self._matrix(-2, self.config.vocabulary, self.config.hidden)

    def _matrix(self, place: int, rows: int, columns: int, *, bits: Literal[4, 8] = 4) -> BlockWeight:
        random = np.random.default_rng([self.seed, place % (1 << 32)])
        shape = rows, columns // _BLOCK, _BLOCK * bits // 8
        codes = np.frombuffer(random.bytes(math.prod(shape)), np.uint8).reshape(shape)
        # The standard deviation of uniform codes is 2**bits / sqrt(12); with this scale a product has that of its
        # input.
        typical = math.sqrt(12 / columns) / (1 << bits)
        scales = random.uniform(0.5 * typical, 1.5 * typical, shape[:2]).astype(np.float32)
        return BlockWeight(bits, _BLOCK, codes, scales)


def make_tiny(
    out_dir: Path,
    architecture: DecoderType = "phi3",
    tokenizer_from: Path | None = None,
    *,
    hidden: int = 64,
    layers: int = 2,
    context_length: int = 2048,
    seed: int = 0,
) -> Path:
    """Write a model of well under a megabyte that loads and generates noise.

    Args:
        out_dir: Created if missing.
        architecture: `phi3` or `llama`.
        tokenizer_from: A folder with a tokenizer to copy, whose vocabulary the model gets; by default a tokenizer of
            single bytes and Phi-3's control tokens is made.
        hidden: Width of the residual stream, a multiple of 64; heads are 16 wide.
        layers: Number of decoder layers.
        context_length: Context window in tokens.
        seed: Seed of all weights.

    Returns:
        `out_dir`.

    Raises:
        OSError: The tokenizer cannot be read or the folder cannot be written.
        ValueError: The tokenizer is not valid.
    """
    config = DecoderConfig(
        type=architecture,
        layers=layers,
        hidden=hidden,
        heads=hidden // 16,
        kv_heads=hidden // 32,
        head_size=16,
        vocabulary=0,
        context_length=context_length,
        epsilon=1e-5,
        rope=Rope(dimensions=16),
    )
    return _write(out_dir, config, 2 * hidden, tokenizer_from, seed=seed, tied=architecture == "llama")


def make_phi3_shaped(out_dir: Path, tokenizer_from: Path | None = None, *, layers: int = 32, seed: int = 0) -> Path:
    """Write a model with the shapes of Phi-3-mini-4k in int4: 2.4 GB, less with fewer layers.

    Args:
        out_dir: Created if missing.
        tokenizer_from: A folder with a tokenizer to copy, of at most Phi-3's vocabulary; by default one is made.
        layers: Number of decoder layers.
        seed: Seed of all weights.

    Returns:
        `out_dir`.

    Raises:
        OSError: The tokenizer cannot be read, or the disk is full.
        ValueError: The tokenizer is not valid.
    """
    config = dataclasses.replace(PHI3_MINI, layers=layers)
    return _write(out_dir, config, _PHI3_MINI_INNER, tokenizer_from, seed=seed, tied=False)


def make_smollm2_shaped(out_dir: Path, tokenizer_from: Path | None = None, *, layers: int = 30, seed: int = 0) -> Path:
    """Write plain symmetric int4 in the shapes of the default model, as a baseline for timing its exact form.

    Arguments, result and errors are those of `make_phi3_shaped`.
    """
    config = dataclasses.replace(SMOLLM2_135M, layers=layers)
    return _write(out_dir, config, _SMOLLM2_INNER, tokenizer_from, seed=seed, tied=True)


def _write(
    out_dir: Path, config: DecoderConfig, inner: int, tokenizer_from: Path | None, *, seed: int, tied: bool
) -> Path:
    out_dir.mkdir(parents=True, exist_ok=True)
    if tokenizer_from is None:
        _write_byte_tokenizer(out_dir, config.context_length)
    else:
        for name in _TOKENIZER_FILES:
            if (tokenizer_from / name).exists():
                # Copy contents only: the copy of a read-only file must be writable.
                shutil.copyfile(tokenizer_from / name, out_dir / name)
    ids = _token_table(out_dir)
    # The model's vocabulary may be larger than its tokenizer's, as Phi-3's own is.
    config = dataclasses.replace(config, vocabulary=max(config.vocabulary, max(ids.values()) + 1))
    write_decoder(config, RandomWeights(config, inner, seed, tied), out_dir, lambda fraction, phrase: None)
    write_genai_config(config, _special_ids(out_dir, ids), out_dir)
    return out_dir


def _token_table(folder: Path) -> dict[str, int]:
    """Return every token of `tokenizer.json` with its id."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    return {**content["model"]["vocab"], **added}


def _special_ids(folder: Path, ids: dict[str, int]) -> TokenIds:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))

    def declared(role: str) -> int | None:
        token = settings.get(f"{role}_token")
        return ids.get(token["content"] if isinstance(token, dict) else token)

    own = declared("eos")
    ends = dict.fromkeys([own] if own is not None else [])
    ends |= dict.fromkeys(sorted(ids[name] for name in END_NAMES if name in ids))
    if not ends:
        raise ValueError("the tokenizer has no token that ends a reply")
    first, bos, pad = next(iter(ends)), declared("bos"), declared("pad")
    return TokenIds(bos=first if bos is None else bos, eos=tuple(ends), pad=first if pad is None else pad)


def _write_byte_tokenizer(out_dir: Path, context_length: int) -> None:
    """Write a byte-level BPE without merges: every byte is a token, followed by Phi-3's control tokens."""
    added = [
        {
            "id": 256 + index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            # As in Phi-3, the newline after a role is part of its token.
            "rstrip": content.startswith("<|"),
            "normalized": False,
            "special": True,
        }
        for index, content in enumerate(_CONTROLS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocabulary = {character: index for index, character in enumerate(_byte_characters())}
    vocabulary |= {content: 256 + index for index, content in enumerate(_CONTROLS)}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }
    names = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<unk>"}
    settings: dict[str, Any] = {
        **names,
        "added_tokens_decoder": {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added},
        "add_bos_token": False,
        "add_eos_token": False,
        "chat_template": _CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
        "tokenizer_class": "GPT2Tokenizer",
    }
    for name, content in zip(_TOKENIZER_FILES, (tokenizer, settings, names), strict=True):
        (out_dir / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _byte_characters() -> list[str]:
    """Return the character byte-level BPE uses for each byte: itself if visible, else one from U+0100 on.

    Source: `bytes_to_unicode` in OpenAI's GPT-2, encoder.py.
    """
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = (code for code in range(256, 512))
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]
