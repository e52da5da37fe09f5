"""Models of one release in the hands of another: nobody can change the code that packaged those in the field.

`tests/data/packaged-VERSION.tar.xz` is what `edgechat package` of that version made of a tiny random model; the code of
that version is inside. Add one for each release.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from edgechat.flavor import save_model

SAMPLES = sorted((Path(__file__).parents[1] / "data").glob("packaged-*.tar.xz"))

LOAD = """
import sys
from pathlib import Path
model, code, imported_first = sys.argv[1:]
sys.path = [path for path in sys.path if not Path(path, "edgechat").is_dir()]
if code:
    sys.path.insert(0, code)
if imported_first == "yes":
    import edgechat.flavor
import mlflow.pyfunc
loaded = mlflow.pyfunc.load_model(model, model_config={"context": 128, "threads": 1})
assert len(loaded.predict({"prompt": ["Hello", "Hi"], "max_tokens": 2})) == 2
[answer] = loaded.predict({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2})
assert answer["choices"][0]["message"]["role"] == "assistant"
assert isinstance("".join(loaded.predict_stream({"prompt": "Hello", "max_tokens": 2})), str)
import edgechat
print(edgechat.__file__)
"""


@pytest.fixture(params=SAMPLES, ids=lambda path: path.name.split(".tar")[0])
def packaged(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model that an earlier release packaged."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path / "earlier", filter="data")
    return tmp_path / "earlier" / "packaged"


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that this release saved."""
    folder = tmp_path_factory.mktemp("releases") / "tiny"
    save_model(tiny_llama, folder, metadata={"name": "tiny", "architecture": "llama"}, weights="link")
    return folder


def load(model: Path, code: Path | None, home: Path, *, imported_first: bool) -> str:
    """Load a model through MLflow where that code of edgechat is installed; the file that edgechat came from."""
    ran = subprocess.run(
        [
            sys.executable,
            "-P",
            "-W",
            "ignore",
            "-c",
            LOAD,
            str(model),
            str(code or ""),
            "yes" if imported_first else "no",
        ],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def code_in(model: Path) -> Path:
    """The code that a model brings along."""
    return next((model / "code").glob("edgechat-*.zip"))


def test_samples_are_there() -> None:
    assert SAMPLES


def test_an_earlier_model_with_its_own_code(packaged: Path, tmp_path: Path) -> None:
    assert load(packaged, None, tmp_path, imported_first=False).startswith(str(code_in(packaged)))


def test_an_earlier_model_with_the_code_of_today(packaged: Path, tmp_path: Path) -> None:
    own = Path(__file__).parents[2]
    assert load(packaged, own, tmp_path, imported_first=True).startswith(str(own / "edgechat"))


def test_a_model_of_today_with_earlier_code(saved: Path, packaged: Path, tmp_path: Path) -> None:
    """As on a server whose environment was made for an earlier version."""
    assert load(saved, code_in(packaged), tmp_path, imported_first=True).startswith(str(code_in(packaged)))


def test_a_model_of_today_with_its_own_code_beside_earlier_code(saved: Path, packaged: Path, tmp_path: Path) -> None:
    load(saved, code_in(packaged), tmp_path, imported_first=False)


def test_an_earlier_model_in_the_chat(packaged: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-P", "-m", "edgechat", "ask", "-m", str(packaged), "--max-tokens", "4", "Hello"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "EDGECHAT_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
