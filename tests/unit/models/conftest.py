"""Model folders to try things on. Opening never loads a graph, so a few bytes stand for the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def write_genai(folder: Path, **model: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {"type": "llama", "context_length": 2048, "decoder": {"filename": "model.onnx"}}
    described.update(model)
    (folder / "genai_config.json").write_text(json.dumps({"model": described, "search": {}}), "utf-8")
    (folder / "model.onnx").write_bytes(b"graph" * 200)
    (folder / "model.onnx.data").write_bytes(bytes(range(256)) * 64)
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    return folder


@pytest.fixture
def make_genai() -> Callable[..., Path]:
    """Writes an ONNX GenAI folder; keywords replace keys of its `model`."""
    return write_genai


@pytest.fixture
def genai(tmp_path: Path) -> Path:
    """A bare ONNX GenAI folder."""
    return write_genai(tmp_path / "bare")


@pytest.fixture
def make_mlflow() -> Callable[..., Path]:
    """Writes an MLflow folder with this MLmodel, and an ONNX GenAI folder below it."""

    def make(root: Path, mlmodel: str, *, at: str = "artifacts/og", **model: Any) -> Path:
        write_genai(root / at, **model)
        (root / "MLmodel").write_text(mlmodel, "utf-8")
        return root

    return make
