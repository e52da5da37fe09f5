"""Installing the default model: wholly or not at all, once, and with words a parent process can read."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from edgechat.cli import install_default
from edgechat.i18n.sentence import restored
from edgechat.models.default import DEFAULT_NAME
from edgechat.models.folder import open_model
from edgechat.models.store import ModelStore

Json = dict[str, Any]

COMMAND = [sys.executable, "-P", "-m", "edgechat", "_install-default"]
# The command with a converter that only writes a few files, slowly enough to be disturbed.
QUICK = """
import sys, time
from pathlib import Path
from edgechat.runtime.opt_outs import go_offline
go_offline()
from edgechat.convert.gguf import converter
from edgechat.cli import install_default

def convert(source, out_dir, *, on_progress):
    out_dir.mkdir(parents=True)
    for step in range(20):
        on_progress(step / 20, f"step {step}")
        out_dir.joinpath("model.onnx").write_bytes(bytes(1000))
        time.sleep(0.05)
    out_dir.joinpath("genai_config.json").write_text(
        '{"model": {"type": "llama", "context_length": 64, "vocab_size": 8, "decoder": {"filename": "model.onnx"}}}'
    )
    out_dir.joinpath("tokenizer.json").write_text("{}")
    return converter.ConversionReport(
        architecture="llama", parameters=1, quantisation="F32", context_length=64, name="quick", licence=None,
        source_sha256="0" * 64, bytes_written=1000,
    )

converter.convert_gguf = convert
source = Path(sys.argv[1])
source.write_bytes(b"GGUF")
install_default.embedded_gguf = lambda: source
sys.exit(install_default.main())
"""


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    return [sys.executable, "-c", QUICK, str(tmp_path / "quick.gguf")]


class Start(Protocol):
    """Starts a command; what is still running at the end of the test is killed."""

    def __call__(self, command: list[str], **options: Any) -> subprocess.Popen[str]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as children:

        def begin(command: list[str], **options: Any) -> subprocess.Popen[str]:
            child = children.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    **options,
                )
            )
            children.callback(child.kill)
            return child

        yield begin


def lines(child: subprocess.Popen[str]) -> Iterator[Json]:
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)


def until(child: subprocess.Popen[str], word: str) -> None:
    """Read on until a note begins with the word."""
    seen = []
    for said in lines(child):
        seen.append(said)
        if str(said.get("note", "")).startswith(word):
            return
    pytest.fail(f"never said {word!r}: {seen}, {child.stderr.read() if child.stderr else ''}")


def finish(child: subprocess.Popen[str], timeout: float = 120) -> tuple[int, list[Json], str]:
    out, err = child.communicate(timeout=timeout)
    return child.returncode, [json.loads(line) for line in out.splitlines()], err


def visible(store: ModelStore) -> list[str]:
    """Everything in the store but its locks."""
    return sorted(path.name for path in store.root.iterdir() if path.name != ".locks")


class TestInProcess:
    """What needs no process of its own."""

    def said(self, capfd: pytest.CaptureFixture[str]) -> list[Json]:
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    def test_without_weights(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(install_default, "embedded_gguf", lambda: None)
        assert install_default.main() == 3
        (line,) = self.said(capfd)
        assert line["error"]["title"] == "No model installed"
        assert "models add" in restored(line["error"]["hint"])

    def test_what_nobody_foresaw_is_told_in_words(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> None:
            raise KeyError("surprise")

        monkeypatch.setattr(install_default, "embedded_gguf", fail)
        assert install_default.main() == 1
        said = capfd.readouterr()
        assert json.loads(said.out)["error"]["title"] == "Model could not be installed"
        assert "Traceback" in said.err
        assert visible(ModelStore()) == []

    def test_a_source_that_is_no_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / "broken.gguf"
        source.write_bytes(b"GGUF and nothing else")
        monkeypatch.setattr(install_default, "embedded_gguf", lambda: source)
        assert install_default.main() == 3
        assert "GGUF" in self.said(capfd)[-1]["error"]["title"]
        assert visible(ModelStore()) == []

    def test_not_enough_space(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / "huge.gguf"
        with source.open("wb") as file:
            file.truncate(2**43)  # sparse: larger than the disks tests run on
        monkeypatch.setattr(install_default, "embedded_gguf", lambda: source)
        assert install_default.main() == 5
        assert "The model needs 11.0 TB" in restored(self.said(capfd)[-1]["error"]["message"])
        assert visible(ModelStore()) == []

    def test_an_installed_model_is_taken_as_it_is(
        self, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = ModelStore().add(tiny_llama, DEFAULT_NAME).root
        monkeypatch.setattr(install_default, "embedded_gguf", lambda: pytest.fail("must not be looked for"))
        assert install_default.main() == 0
        assert self.said(capfd) == [{"ready": str(root)}]

    def test_the_signals_of_the_caller_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(install_default, "embedded_gguf", lambda: None)
        before = signal.getsignal(signal.SIGTERM)
        install_default.main()
        assert signal.getsignal(signal.SIGTERM) is before


class TestDisturbed:
    """A quick stand-in for the conversion, in a process that is disturbed."""

    def test_progress_then_ready(self, start: Start, quick: list[str]) -> None:
        code, said, _ = finish(start(quick))
        assert code == 0
        steps = [line for line in said if "done" in line]
        assert all(line["total"] == 100 for line in steps)
        done = [line["done"] for line in steps]
        assert done == sorted(done)
        assert said[-1] == {"ready": str(ModelStore().root / DEFAULT_NAME)}
        assert ModelStore().verify(DEFAULT_NAME) == ()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_stops_it_and_nothing_is_left(self, start: Start, quick: list[str], number: int) -> None:
        child = start(quick)
        until(child, "step 5")
        child.send_signal(number)
        code, said, _ = finish(child, timeout=10)
        assert code == 130
        assert said[-1]["error"]["title"] == "Installation was stopped"
        assert visible(ModelStore()) == []

    def test_it_goes_on_when_nobody_listens(self, start: Start, quick: list[str]) -> None:
        child = start(quick)
        until(child, "step 2")
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.wait(timeout=30) == 0
        assert child.stderr.read() == ""
        child.stderr.close()
        assert ModelStore().names() == (DEFAULT_NAME,)

    def test_a_waiting_start_can_be_stopped(self, start: Start, quick: list[str]) -> None:
        first = start(quick)
        until(first, "step 1")
        second = start(quick)
        until(second, "waiting for another edgechat")
        second.terminate()
        assert finish(second, timeout=10)[0] == 130
        assert finish(first)[0] == 0
        assert visible(ModelStore()) == [DEFAULT_NAME]

    def test_a_waiting_start_takes_over_from_a_killed_one(self, start: Start, quick: list[str]) -> None:
        first = start(quick)
        until(first, "step 1")
        second = start(quick)
        until(second, "waiting for another edgechat")
        first.kill()
        first.communicate()
        code, said, _ = finish(second)
        assert code == 0
        assert [line["note"] for line in said if "step" in str(line.get("note"))]
        assert visible(ModelStore()) == [DEFAULT_NAME]

    def test_a_damaged_model_is_made_again(self, start: Start, quick: list[str]) -> None:
        assert finish(start(quick))[0] == 0
        broken = ModelStore().root / DEFAULT_NAME / "MLmodel"
        broken.write_text("[", "utf-8")
        assert finish(start(quick))[0] == 0
        assert ModelStore().verify(DEFAULT_NAME) == ()
        assert visible(ModelStore()) == [DEFAULT_NAME]

    def test_something_in_the_way_of_the_store(self, start: Start, quick: list[str], own_home: Path) -> None:
        own_home.write_text("a file where the folder should be")
        code, said, _ = finish(start(quick))
        assert code == 5
        assert str(own_home) in restored(said[-1]["error"]["message"])
        assert "EDGECHAT_HOME" in restored(said[-1]["error"]["hint"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 170 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=170m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("making a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_read_only_disk(start: Start, small_disk: Path, quick: list[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said, _ = finish(start(quick, env={**os.environ, "EDGECHAT_HOME": str(small_disk / "home")}))
    assert code == 5
    assert "Read-only file system" in restored(said[-1]["error"]["message"])
    assert "EDGECHAT_HOME" in restored(said[-1]["error"]["hint"])


@pytest.mark.model
class TestRealModel:
    """The real weights; each test converts as little as it can."""

    def test_disk_fills_up_on_the_way(self, start: Start, small_disk: Path) -> None:
        child = start(COMMAND, env={**os.environ, "EDGECHAT_HOME": str(small_disk)})
        until(child, "layer 2")
        with suppress(OSError), small_disk.joinpath("another").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1_000_000))
        code, said, _ = finish(child)
        assert code == 5
        error = said[-1]["error"]
        assert error["title"] == "Not enough space"
        assert "123 MB" in restored(error["message"])
        assert "EDGECHAT_HOME" in restored(error["hint"])
        assert visible(ModelStore(small_disk / "data" / "models")) == []

    def test_file_size_limit(self, start: Start) -> None:
        limit = 20_000_000
        child = start(COMMAND, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        code, said, _ = finish(child)
        assert code == 5
        assert said[-1]["error"]["title"] == "Not enough space"
        assert visible(ModelStore()) == []

    @pytest.mark.slow
    def test_killed_then_installed_by_two_at_once(self, start: Start) -> None:
        store = ModelStore()
        killed = start(COMMAND)
        until(killed, "layer 3")
        killed.kill()
        killed.communicate()
        assert not store.has(DEFAULT_NAME)

        first = start(COMMAND)
        until(first, "layer")
        second = start(COMMAND)
        code, said, _ = finish(second, timeout=240)
        assert (code, finish(first)[0]) == (0, 0)
        notes = [line["note"] for line in said if "note" in line]
        assert notes == ["waiting for another edgechat…"]
        assert said[-1] == {"ready": str(store.root / DEFAULT_NAME)}

        assert visible(store) == [DEFAULT_NAME]
        assert store.verify(DEFAULT_NAME) == ()
        model = open_model(Path(said[-1]["ready"]))
        assert (model.architecture, model.context_length) == ("llama", 8192)
        assert (model.licence, model.quantisation) == ("apache-2.0", "Q4_1 + Q8_0")
        assert sum(file.stat().st_size for file in model.root.rglob("*")) <= 130_000_000
        assert model.mlflow is not None
        assert model.mlflow.metadata["parameters"] == 134_515_008

        # Nothing is converted again: there is nothing to tell but where it is.
        assert finish(start(COMMAND))[1] == said[-1:]
