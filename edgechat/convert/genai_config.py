"""Writes `genai_config.json`: what onnxruntime-genai must know about a model besides its graph.

It must never name a `custom_ops_library` (native code) or machine-specific options such as thread counts, which the
engine sets when loading the model. The format is that of the official builder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgechat.convert.onnx_writer import MODEL_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from edgechat.convert.decoder_graph import DecoderConfig

CONFIG_FILE = "genai_config.json"
# Usual names of end-of-turn tokens, for the many models whose metadata only has the end-of-text token.
END_NAMES = frozenset({"<|im_end|>", "<|end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>"})
# KV memory for `max_length` is committed when a Generator is created, so the default must fit on any machine.
_DEFAULT_MAX_LENGTH = 4096


@dataclass(frozen=True)
class TokenIds:
    """Token ids the engine needs to know.

    Attributes:
        bos: Starts a text.
        eos: Each of these ends a reply; the model's own end token comes first.
        pad: Pads shorter sequences in a batch.
    """

    bos: int
    eos: tuple[int, ...]
    pad: int


def genai_config(config: DecoderConfig, tokens: TokenIds) -> dict[str, Any]:
    """Return the content of `genai_config.json` for a graph from `decoder_graph`."""
    return {
        "model": {
            "bos_token_id": tokens.bos,
            "context_length": config.context_length,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": MODEL_FILE,
                "head_size": config.head_size,
                "hidden_size": config.hidden,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
                "num_attention_heads": config.heads,
                "num_hidden_layers": config.layers,
                "num_key_value_heads": config.kv_heads,
            },
            "eos_token_id": tokens.eos[0] if len(tokens.eos) == 1 else list(tokens.eos),
            "pad_token_id": tokens.pad,
            "type": config.type,
            "vocab_size": config.vocabulary,
        },
        "search": {
            "diversity_penalty": 0.0,
            "do_sample": False,
            "early_stopping": True,
            "length_penalty": 1.0,
            "max_length": min(config.context_length, _DEFAULT_MAX_LENGTH),
            "min_length": 0,
            "no_repeat_ngram_size": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "past_present_share_buffer": True,
            "repetition_penalty": 1.0,
            "temperature": 1.0,
            "top_k": 50,
            "top_p": 1.0,
        },
    }


def write_genai_config(config: DecoderConfig, tokens: TokenIds, out_dir: Path) -> None:
    """Write `genai_config.json` into a folder."""
    text = json.dumps(genai_config(config, tokens), indent=4) + "\n"
    (out_dir / CONFIG_FILE).write_text(text, encoding="utf-8")
