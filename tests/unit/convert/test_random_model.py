"""Random models load, generate, and are the same for the same seed."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime_genai as og
import pytest
from tokenizers import Tokenizer

from edgechat.convert.random_model import make_phi3_shaped, make_smollm2_shaped, make_tiny
from tests.unit.convert.engine import generator, load, logits_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgechat.convert.decoder_graph import DecoderType


@pytest.mark.parametrize("architecture", ["phi3", "llama"])
def test_tiny_model_generates(tmp_path: Path, architecture: DecoderType) -> None:
    folder = make_tiny(tmp_path / "model", architecture)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1 << 20
    model = load(folder)
    tokenizer = og.Tokenizer(model)
    text = "<|user|>\nGrüße, 世界<|end|>\n<|assistant|>\n"
    ids = tokenizer.encode(text).tolist()
    # What Phi-3's own tokenizer does: control tokens are one id and take the newline after them along.
    assert ids[0] == 263
    assert ids[-2:] == [262, 260]
    assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    assert "Grüße, 世界" in tokenizer.decode(np.array(ids, np.int32))
    assert tokenizer.eos_token_ids.tolist() == [259, 262]
    running = generator(model, 64)
    running.append_tokens(np.array([ids], np.int32))
    for _ in range(20):
        running.generate_next_token()
    logits = np.asarray(running.get_logits())
    assert np.isfinite(logits).all()
    assert logits.std() > 0.1
    messages = json.dumps([{"role": "user", "content": "Hi"}])
    assert tokenizer.apply_chat_template(messages, add_generation_prompt=True) == "<|user|>\nHi<|end|>\n<|assistant|>\n"


def test_same_seed_same_model(tmp_path: Path) -> None:
    weights = [
        (make_tiny(tmp_path / name, seed=seed) / "model.onnx.data").read_bytes()
        for name, seed in zip("abc", (1, 1, 2), strict=True)
    ]
    assert weights[0] == weights[1] != weights[2]


def test_tokenizer_of_another_model(tmp_path: Path) -> None:
    other = make_tiny(tmp_path / "other")
    for path in other.iterdir():
        path.chmod(0o444)
    content = json.loads((other / "tokenizer.json").read_text("utf-8"))
    folder = make_tiny(tmp_path / "model", "llama", other)
    assert json.loads((folder / "tokenizer.json").read_text("utf-8")) == content
    (folder / "tokenizer.json").write_text("replaceable", "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("make", [partial(make_phi3_shaped, layers=2), make_smollm2_shaped])
def test_real_shapes_stay_finite(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path)
    logits = logits_of(load(folder, overlay='{"search": {"max_length": 64}}'), list(range(16)), prompt=8)
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 100
