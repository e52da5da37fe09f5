"""`edgechat models pull`, `push` and `outdated` as a user runs them, and chatting with what was pulled, off line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgechat.models.store import ModelStore
from edgechat.registry.pull import PULLS
from edgechat.runtime.paths import own_command
from tests.support.mlflow_server import MlflowServer, Proxy, free_port
from tests.support.networks import no_network
from tests.support.terminal import Terminal, needs_tmux

pytestmark = pytest.mark.model


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    with Proxy(mlflow_server.uri) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """The working directory; nothing may appear in it."""
    made = tmp_path / "work"
    made.mkdir()
    yield made
    assert list(made.iterdir()) == []


def environment(also: Mapping[str, str] | None = None) -> dict[str, str]:
    names = ("PATH", "EDGECHAT_HOME", "HOME", "LANG")
    return {**{name: os.environ[name] for name in names if name in os.environ}, **(also or {})}


def edgechat(
    *arguments: str, cwd: Path, prefix: tuple[str, ...] = (), also: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *own_command(*arguments)],
        env=environment(also),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def done(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        own_command(*arguments),
        env=environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def smol(mlflow_server: MlflowServer, default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The real default model on the server, pushed by the command: smol@champion, version 1."""
    place = tmp_path_factory.mktemp("pushing")
    home = {"EDGECHAT_HOME": str(place / "home"), "MLFLOW_TRACKING_URI": mlflow_server.uri}
    text = done(
        edgechat(
            *("models", "push", str(default_model), "--register", "smol", "--alias", "champion", "--json"),
            cwd=place,
            also=home,
        )
    )
    assert [path.name for path in place.iterdir()] == ["home"]
    pushed: dict[str, Any] = json.loads(text)
    return pushed


def test_from_the_registry_to_an_answer_off_line(smol: dict[str, Any], mlflow_server: MlflowServer, work: Path) -> None:
    """Pull, ask without any network, look for a newer version, pull that, ask again."""
    online = {"MLFLOW_TRACKING_URI": mlflow_server.uri}
    pulled = edgechat("models", "pull", "models:/smol@champion", cwd=work, also=online)
    assert done(pulled) == "smol\n"
    assert re.search(r"pulling 11\d MB\n.*fetched 11\d MB\n.*installed smol version 1;", pulled.stderr, re.DOTALL)
    again = edgechat("models", "pull", "models:/smol/1", cwd=work, also=online)
    assert done(again) == "smol\n"
    assert "nothing to do: models:/smol@champion is version 1, pulled" in again.stderr

    offline = tuple(no_network())
    question = ("ask", "-m", "models:/smol@champion", "--temperature", "0", "--max-tokens", "12", "Capital of France?")
    first = edgechat(*question, cwd=work, prefix=offline)
    assert done(first).strip()
    told = rf"edgechat: models:/smol@champion is version 1, pulled {TIME} from {re.escape(mlflow_server.uri)}\n"
    assert re.match(told, first.stderr)
    assert "version 1, pulled" in done(edgechat("models", "list", cwd=work, prefix=offline))
    shown = done(edgechat("models", "show", "models:/smol/latest", cwd=work, prefix=offline))
    assert re.search(r"Registered +smol, version 1 \(champion\)\n", shown)
    assert re.search(rf"Pulled +{TIME} from {re.escape(mlflow_server.uri)}\n", shown)

    pushed = done(
        edgechat("models", "push", "smol", "--register", "smol", "--alias", "champion", cwd=work, also=online)
    )
    assert re.search(r"^Model +models:/smol/2$", pushed, re.MULTILINE)
    table = done(edgechat("models", "outdated", cwd=work))  # the model knows its server
    assert [line.split() for line in table.splitlines()] == [
        ["NAME", "URI", "VERSION", "NOW", "STATE"],
        ["smol", "models:/smol@champion", "1", "2", "outdated"],
    ]
    newer = json.loads(done(edgechat("models", "pull", "models:/smol@champion", "--json", cwd=work, also=online)))
    assert (newer["name"], newer["origin"]["version"], newer["already_here"]) == ("smol", "2", False)
    second = edgechat(*question, cwd=work, prefix=offline)
    assert done(second) == first.stdout
    assert "models:/smol@champion is version 2, pulled" in second.stderr
    gone = edgechat("ask", "-m", "models:/smol/1", "Hello", cwd=work, prefix=offline)
    assert gone.returncode == 3
    assert "models:/smol/1 is not here; smol version 2 (champion) is." in gone.stderr
    assert "edgechat models pull models:/smol/1" in gone.stderr


TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


@needs_tmux
def test_the_chat_says_which_version_it_is(smol: dict[str, Any], mlflow_server: MlflowServer, work: Path) -> None:
    done(edgechat("models", "pull", "models:/smol/1", "--tracking-uri", mlflow_server.uri, cwd=work))
    command = [*no_network(), *own_command("--model-uri", "models:/smol/1")]
    with Terminal(command, environment=environment(), cwd=work, columns=100) as terminal:
        screen = terminal.wait_for("ready")
        assert re.search(r"models:/smol/1 is version 1,\s+pulled \d{4}", screen)
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def until_half_is_here(process: subprocess.Popen[str], bytes_here: int) -> None:
    half = ModelStore().root / PULLS / "smol" / "half"
    end = time.monotonic() + 120
    while not (half.is_file() and half.stat().st_size >= bytes_here):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_killed_half_way_goes_on(smol: dict[str, Any], proxy: Proxy, work: Path, number: signal.Signals) -> None:
    pull = ("models", "pull", "models:/smol/1", "--tracking-uri", proxy.uri)
    proxy.stall = "/model.onnx.data"
    with started(*pull, cwd=work) as process:
        until_half_is_here(process, 1_000_000)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "the next pull goes on from there" in err
        assert "Traceback" not in err
    store = ModelStore()
    assert store.names() == ()
    whole = {path.name for path in (store.root / PULLS / "smol" / "files").rglob("*") if path.is_file()}
    assert "genai_config.json" in whole
    assert "model.onnx.data" not in whole

    proxy.stall = ""
    proxy.asked.clear()
    pulled = edgechat(*pull, cwd=work)
    assert done(pulled) == "smol\n"
    assert "were here already" in pulled.stderr
    fetched = {path.rpartition("/")[2] for path in proxy.asked if "/artifacts/" in path}
    # Told anew each time: they are small, and everything else is measured by them.
    assert fetched & whole <= {"MLmodel", "edgechat-manifest.json"}
    assert "model.onnx.data" in fetched
    assert store.verify("smol") == ()
    assert list((store.root / PULLS).iterdir()) == []


def test_two_pulls_at_once_fetch_once(smol: dict[str, Any], proxy: Proxy, work: Path) -> None:
    pull = ("models", "pull", "models:/smol/1", "--tracking-uri", proxy.uri)
    both = [started(*pull, cwd=work) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [out for out, _ in told] == ["smol\n", "smol\n"]
    assert sum(path.endswith("/model.onnx.data") for path in proxy.asked) == 1
    assert sum("nothing to do" in err for _, err in told) == 1


def test_outdated_off_line(smol: dict[str, Any], mlflow_server: MlflowServer, proxy: Proxy, work: Path) -> None:
    nothing = edgechat("models", "outdated", cwd=work)
    assert (done(nothing), nothing.stderr) == ("", "edgechat: no model was pulled from a server\n")
    done(edgechat("models", "pull", "models:/smol/1", "--tracking-uri", proxy.uri, cwd=work))
    answered = json.loads(done(edgechat("models", "outdated", "--json", "--tracking-uri", mlflow_server.uri, cwd=work)))
    assert answered[0]["state"] in {"current", "outdated"}
    down = edgechat("models", "outdated", "--tracking-uri", f"http://127.0.0.1:{free_port()}", cwd=work)
    assert down.returncode == 3
    assert down.stdout.splitlines()[1].split() == ["smol", "models:/smol/1", "1", "-", "unknown"]
    assert "MLflow server cannot be reached" in down.stderr
    assert "Traceback" not in down.stderr
