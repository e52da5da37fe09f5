"""What a user may call a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.errors import EdgechatError, ModelError
from edgechat.models import default
from edgechat.models.default import DEFAULT_NAME
from edgechat.models.store import ModelStore
from edgechat.models.uri import resolve_model

Make = Callable[..., Path]


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


def refusal(uri: str | None, store: ModelStore | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        resolve_model(uri, store=store)
    assert caught.value.hint
    return caught.value


def test_paths(genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for text in (str(genai), "./bare", "bare/", "../" + tmp_path.name + "/bare", "~/bare", genai.as_uri()):
        assert resolve_model(text).root == genai


def test_file_uris(tmp_path: Path, make_genai: Make) -> None:
    folder = make_genai(tmp_path / "my model ä")
    assert resolve_model(folder.as_uri()).root == folder
    assert resolve_model("file://localhost" + folder.as_uri().removeprefix("file://")).root == folder
    for text in ("file:relative", "file://host/share", "file:"):
        assert refusal(text).title == "Model URI not understood"


def test_a_name_in_the_store_comes_before_a_folder_of_that_name(
    store: ModelStore, genai: Path, tmp_path: Path, make_genai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_genai(tmp_path / "phi3", type="phi3")
    assert resolve_model("phi3").root == tmp_path / "phi3"
    store.add(genai, "phi3")
    assert resolve_model("phi3").root == store.root / "phi3"
    assert resolve_model("./phi3").root == tmp_path / "phi3"


def test_nothing_named(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(None)
    assert error.title == "No model installed"
    monkeypatch.setattr(default, "embedded_gguf", lambda: None)
    error = refusal(None)
    assert error.title == "No model installed"
    assert "--model-uri" in error.hint
    store.add(genai, "phi3")
    assert resolve_model(None).name == "phi3"
    store.add(genai, "llama")
    error = refusal(None)
    assert "llama, phi3" in error.message
    store.add(genai, DEFAULT_NAME)
    assert resolve_model(None).name == DEFAULT_NAME


@pytest.mark.parametrize("text", ["s3://b/k", "hf://b/k", "dbfs:/b"])
def test_other_places_are_not_pulled_from(text: str) -> None:
    error = refusal(text)
    assert error.title == "Model is somewhere else"
    assert "folder" in error.hint


def test_other_schemes() -> None:
    assert refusal("ftp://x/y").title == "Model URI not understood"


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_empty(text: str) -> None:
    assert refusal(text).title == "No model named"


def test_unknown_names(store: ModelStore, genai: Path) -> None:
    assert "models add" in refusal("phi3").hint
    store.add(genai, "phi3-mini")
    assert "Did you mean phi3-mini?" in refusal("phi3-mni").hint
    assert "phi3-mini" in refusal("something-else").hint
    assert "\x1b" not in str(refusal("x\x1b[31m"))


@pytest.mark.parametrize("text", ["./gone", "/gone/for/good", "~/gone", "gone/too"])
def test_missing_paths(text: str) -> None:
    assert refusal(text).title == "Model not found"


def test_trust_is_handed_on(tmp_path: Path, make_genai: Make) -> None:
    decoder = {"filename": "model.onnx", "session_options": {"custom_ops_library": "x.so"}}
    folder = make_genai(tmp_path / "m", decoder=decoder)
    with pytest.raises(EdgechatError):
        resolve_model(str(folder))
    assert resolve_model(str(folder), trust=True).trusted


@pytest.mark.skipif(os.name == "nt", reason="a drive letter is a path there")
def test_a_drive_letter_is_a_path() -> None:
    assert refusal("C:\\models\\phi3").title == "Model not found"
