"""Hugging Face folders of a few bytes, for tests that never load them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A whole file of bfloat16 zeros."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def write_hf(folder: Path, **config: Any) -> Path:
    """A folder that looks whole; keywords replace keys of its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": 2048,
        "num_hidden_layers": 2,
    }
    (folder / "config.json").write_text(json.dumps({**described, **config}), "utf-8")
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}), "utf-8")
    write_safetensors(folder / WEIGHTS, {"a": (4, 8), "b": (8,)})
    return folder
