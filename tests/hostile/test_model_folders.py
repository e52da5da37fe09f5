"""Hostile model folders: each opens or is refused in words, in bounded time and memory, and writes nothing anywhere.

What opens is also asked, by the real command with the real engine: an option that was let through would act only then.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgechat.convert.gguf.converter import convert_gguf
from edgechat.errors import ExitCode, ModelError
from tests.hostile.conftest import Campaign, sample
from tests.hostile.model_folders import ATTACKS, CANARY, PLAIN, WRITERS, break_folder
from tests.unit.convert.tiny_gguf import write_tiny_gguf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds memory, and makes pipes, as Linux does")

BATCH = 40
DEADLINE = 300
"""Seconds for a batch of folders, and for one question; on a quiet machine a few."""
USER = "what a user had there\n"
CODES = {int(code) for code in ExitCode} - {int(ExitCode.INTERRUPTED)}
TEMPLATE = "{% for m in messages %}<s>{{ m.content }}<|end|>{% endfor %}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that answers, as an MLflow folder."""
    place = tmp_path_factory.mktemp("whole")
    source = write_tiny_gguf(place / "tiny.gguf", hidden=64, layers=1, heads=4, kv_heads=2, inner=64)
    root = place / "root"
    convert_gguf(source, root / "model")
    tokenizer = root / "model" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "chat_template": TEMPLATE}))
    (root / "MLmodel").write_text(PLAIN)
    return root


class Case:
    """A folder of its own with a copy of the model in it, a file of a user's beside that, and somewhere to work."""

    def __init__(self, place: Path, whole: Path) -> None:
        self.place = place
        self.root = place / "root"
        shutil.copytree(whole, self.root)
        (place / CANARY).write_text(USER)
        (place / "work").mkdir()

    def ask(self) -> str:
        """Ask the model something; what is wrong with how that ended, or nothing."""
        command = [sys.executable, "-P", "-m", "edgechat", "ask", "--no-history", "--max-tokens", "2"]
        environment = {**os.environ, "EDGECHAT_HOME": str(self.place.parent / "home")}
        try:
            done = subprocess.run(
                [*command, "--model-uri", str(self.root), "hi"],
                check=False,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=DEADLINE,
                cwd=self.place / "work",
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return f"asking it was not done after {DEADLINE} s"
        told = done.stderr.decode(errors="replace")
        if done.returncode not in CODES or "Traceback" in told:
            return f"asking it ended with {done.returncode}: {told[-300:]}"
        if done.returncode and not told.strip():
            return f"asking it ended with {done.returncode} and without words"
        return ""

    def touched(self) -> str:
        """What was written that nobody asked for, or nothing."""
        if (self.place / CANARY).read_text() != USER:
            return "the user's file was written over"
        strange = {path.name for path in self.place.iterdir()} - {"root", "work", CANARY}
        strange |= {path.name for path in (self.place / "work").iterdir()}
        return f"it wrote {', '.join(sorted(strange))}" if strange else ""


def looked_at(place: Path, cases: list[Case]) -> tuple[dict[str, dict[str, object]], str]:
    """What came of opening the folders in a process of their own, and how that ended if not well."""
    folders = [str(case.root) for case in cases]
    command = [sys.executable, "-P", "-m", "tests.hostile.folder_doors", str(place / "store"), *folders]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "EDGECHAT_HOME": str(place / "home")}
    ended = ""
    with (place / "lines").open("w+") as lines:
        try:
            done = subprocess.run(
                command, check=False, stdout=lines, stderr=subprocess.PIPE, timeout=DEADLINE, env=environment
            )
            if done.returncode:
                ended = f"it ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}"
        except subprocess.TimeoutExpired:
            ended = f"it was not done after {DEADLINE} s"
        lines.seek(0)
        told = [json.loads(line) for line in lines]
    return {row["name"]: row for row in told}, ended


def test_hostile_folders(tmp_path: Path, whole: Path, campaign: Callable[[str, str], Campaign]) -> None:
    attacked = campaign("A", "model folders, opened by each command and asked")
    left = list(sample(len(ATTACKS), 11 * len(ATTACKS)))
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        place = tmp_path / f"batch-{batch[0]}"
        place.mkdir()
        cases = {}
        names = {}
        for number in batch:
            case = cases[number] = Case(place / str(number), whole)
            names[number] = break_folder(case.root, number)
        found, ended = looked_at(place, list(cases.values()))
        for number, case in cases.items():
            row = found.get(str(number))
            if row is None:
                attacked.note(number, f"{names[number]}: no answer: {ended}")
                left = [*batch[batch.index(number) + 1 :], *left]
                break
            fault = str(row["fault"]) or (case.ask() if row["opened"] else "") or case.touched()
            attacked.note(number, f"{names[number]}: {fault}" if fault else None)
        subprocess.run(["rm", "-rf", place], check=True)  # Python's own way is recursive, and some are deep
    attacked.judge()


def test_the_whole_model_answers(tmp_path: Path, whole: Path) -> None:
    """Without this, a campaign in which everything is refused would pass."""
    case = Case(tmp_path / "0", whole)
    found, ended = looked_at(tmp_path, [case])
    assert not ended
    assert found["0"] == {**found["0"], "opened": True, "fault": ""}
    assert case.ask() == ""
    assert case.touched() == ""


@pytest.mark.filterwarnings("default")  # MLflow's own imports warn
def test_mlflows_doors_judge_a_folder_too(tmp_path: Path, whole: Path) -> None:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    from edgechat.flavor import load_model, save_model

    root = tmp_path / "saved"
    save_model(whole / "model", root)
    load_model(str(root))
    config = root / "model" / "genai_config.json"
    data = json.loads(config.read_text())
    data["model"]["decoder"]["session_options"][WRITERS[0]] = str(tmp_path / CANARY)
    config.write_text(json.dumps(data))
    with pytest.raises(ModelError, match=WRITERS[0]) as caught:
        load_model(str(root))
    assert "load_model(FOLDER, trust=True)" in caught.value.hint
    with pytest.raises(MlflowException, match=WRITERS[0]):
        mlflow.pyfunc.load_model(str(root))
    assert not (tmp_path / CANARY).exists()
    load_model(str(root), trust=True).predict({"prompt": "hi", "max_tokens": 2})  # the way that the hint names
    assert (tmp_path / CANARY).exists()  # and what it is that was refused


@pytest.mark.parametrize("command", ["ask", "show", "add", "package", "chat"])
def test_node_names_are_not_written_over_a_users_file(tmp_path: Path, whole: Path, command: str) -> None:
    """The case that was seen: a file of the user's then held a command of the model's."""
    case = Case(tmp_path / "0", whole)
    path = case.root / "model" / "model.onnx"
    graph = onnx.load(str(path), load_external_data=False)
    graph.graph.node[0].name = f"x\ntouch {case.place / 'ran'}\n#"
    path.write_bytes(graph.SerializeToString())
    config = case.root / "model" / "genai_config.json"
    data = json.loads(config.read_text())
    data["model"]["decoder"]["session_options"][WRITERS[0]] = str(case.place / CANARY)
    config.write_text(json.dumps(data))
    root = str(case.root)
    words = {
        "ask": ["ask", "--no-history", "--model-uri", root, "hi"],
        "show": ["models", "show", root],
        "add": ["models", "add", root],
        "package": ["package", root, "--out", str(tmp_path / "out")],
        "chat": ["--plain", "--no-history", "--model-uri", root],
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgechat", *words[command]],
        check=False,
        capture_output=True,
        text=True,
        input="hi\n",
        timeout=DEADLINE,
        env={**os.environ, "EDGECHAT_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == ExitCode.MODEL
    assert WRITERS[0] in done.stderr
    assert "Model refused" in done.stderr
    assert "--trust" in done.stderr
    assert case.touched() == ""
