"""The flavor in a stranger's script: it writes where it was told to, prints nothing, and speaks to nobody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from edgechat.flavor import save_model

pytestmark = [
    pytest.mark.filterwarnings("default"),  # MLflow's own imports warn
    pytest.mark.model,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (.ci/run installs it)"),
]

SCRIPT = """
import sys
from pathlib import Path

import edgechat.flavor, mlflow

genai, out, store = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
asked = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
config = {"context": 256, "threads": 1}

def use(model):
    assert model.predict(asked)[0]["choices"][0]["message"]["content"]
    assert list(model.predict_stream(asked))

use(edgechat.flavor.load_model(str(out / "before"), model_config=config))
edgechat.flavor.save_model(genai, out / "saved", metadata={"name": "mine"}, weights="link")
try:
    edgechat.flavor.log_model(genai, name="mine")
except edgechat.flavor.ModelError as error:
    assert "set_tracking_uri" in error.hint  # rather than a store in the working directory
mlflow.set_tracking_uri(store)
mlflow.set_experiment("quiet")
example = {"prompt": "Hello"}
logged = edgechat.flavor.log_model(genai, name="mine", input_example=example, model_config={"max_tokens": 4}).model_uri
use(edgechat.flavor.load_model(logged, model_config=config))
for uri in (str(out / "saved"), logged):
    use(mlflow.pyfunc.load_model(uri, model_config=config))
"""


class Ran(NamedTuple):
    """What a run of the script left behind."""

    ended: subprocess.CompletedProcess[str]
    home: Path
    work: Path
    out: Path
    trace: str


@pytest.fixture(scope="module")
def ran(default_genai: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("quiet")
    home, work, out = (folder / name for name in ("home", "work", "out"))
    for made in (home, work, out):
        made.mkdir()
    store = f"sqlite:///{folder / 'mlflow.db'}"
    save_model(default_genai, out / "before", weights="link")
    # Made beforehand too: MLflow tells of a new database whoever makes it.
    MlflowClient(tracking_uri=store).create_experiment("quiet", artifact_location=(out / "artifacts").as_uri())
    # As little as a login gives: none of the opt-outs, and no CI, which silences what has to be shown to be off.
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["strace", "-f", "-e", "trace=%network", "-e", "signal=none", "-o", str(folder / "trace")]
    ended = subprocess.run(
        [*command, sys.executable, "-P", "-c", SCRIPT, str(default_genai), str(out), store],
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Ran(ended, home, work, out, (folder / "trace").read_text(errors="replace"))


def test_it_prints_nothing(ran: Ran) -> None:
    assert ran.ended.returncode == 0, ran.ended.stderr
    assert (ran.ended.stdout, ran.ended.stderr) == ("", "")


def test_it_writes_only_where_it_was_told(ran: Ran) -> None:
    assert list(ran.home.iterdir()) == []
    assert list(ran.work.iterdir()) == []
    assert {path.name for path in ran.out.iterdir()} == {"before", "saved", "artifacts"}
    assert list(ran.out.glob("artifacts/**/model.onnx"))


def test_it_connects_to_nobody(ran: Ran) -> None:
    assert "exited with 0" in ran.trace
    # urllib3 makes one socket when it is imported, to see whether there is IPv6; it is connected to nothing.
    talk = re.findall(r"^.*(?:connect|send\w*)\(.*AF_INET.*$|^.*AF_NETLINK.*$", ran.trace, re.MULTILINE)
    assert talk == []
