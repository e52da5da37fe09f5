"""Hugging Face folders through the official model builder, and what is said when that cannot be."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgechat.convert.huggingface import convert_hf
from edgechat.errors import ConvertError, EdgechatError, StorageError
from tests.support.hf_folders import WEIGHTS, write_hf

needs_builder = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "onnx_ir")),
    reason="needs the extra convert-hf",
)


@needs_builder
@pytest.mark.model
def test_a_report_of_the_real_model(default_hf: Path, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    report = convert_hf(default_hf, tmp_path / "out", on_progress=lambda done, what: told.append((done, what)))
    assert (report.architecture, report.context_length, report.licence) == ("llama", 8192, "apache-2.0")
    assert report.name == default_hf.name
    assert report.quantisation == "int4 block 32, accuracy 4"
    assert 134e6 < report.parameters < 135e6
    assert report.source_sha256 == hashlib.sha256((default_hf / WEIGHTS).read_bytes()).hexdigest()
    assert report.bytes_written == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (0.7, "layer 30 of 30") in told
    assert told[-1][0] == 1
    decoder = json.loads((tmp_path / "out" / "genai_config.json").read_text())["model"]["decoder"]
    assert decoder["filename"] == "model.onnx"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def _refused(source: Path, target: Path) -> EdgechatError:
    with pytest.raises((ConvertError, StorageError)) as caught:
        convert_hf(source, target)
    assert not target.exists()
    assert [path for path in target.parent.iterdir() if "building" in path.name] == []
    return caught.value


@needs_builder
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"), "pickle"),
        (lambda folder: (folder / "modeling_x.py").write_text(""), "code of its own"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1]), "bytes in place of"),
    ],
)
def test_a_folder_that_is_refused_before_anything_runs(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    source = write_hf(tmp_path / "hf")
    damage(source)
    error = _refused(source, tmp_path / "out")
    assert isinstance(error, ConvertError)
    assert reason in error.message


@needs_builder
@pytest.mark.parametrize("kind", ["bloom", "of-nobody"])
def test_an_architecture_the_builder_does_not_know(tmp_path: Path, default_hf: Path, kind: str) -> None:
    source = write_hf(tmp_path / "hf", model_type=kind, architectures=["BloomForCausalLM"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).write_bytes((default_hf / name).read_bytes())
    assert _refused(source, tmp_path / "out").title == "Unsupported architecture"


@needs_builder
def test_a_failure_of_the_builder_is_told_with_its_last_words(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf")  # its tokenizer.json is none
    error = _refused(source, tmp_path / "out")
    assert error.title == "Conversion failed"
    assert len(error.message) > 80


@needs_builder
def test_a_target_in_use_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ConvertError, match="already exists"):
        convert_hf(write_hf(tmp_path / "hf"), tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()


@needs_builder
def test_a_target_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        convert_hf(write_hf(tmp_path / "hf"), tmp_path / "file" / "out")


@needs_builder
@pytest.mark.model
def test_a_full_disk_leaves_nothing(default_hf: Path, tmp_path: Path) -> None:
    # The limit stands in for the disk: it is met where the weights are written, by the builder's own process.
    script = f"""
import resource
from pathlib import Path
from edgechat.convert.huggingface import convert_hf
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
convert_hf(Path({str(default_hf)!r}), Path({str(tmp_path / "out")!r}))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert "StorageError: Disk is full" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@needs_builder
@pytest.mark.model
def test_the_builder_ends_with_the_one_who_wanted_it(default_hf: Path, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from edgechat.convert.huggingface import convert_hf
source, target = Path({str(default_hf)!r}), Path({str(tmp_path / "out")!r})
convert_hf(source, target, on_progress=lambda done, what: print(what, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith("layer"):
            break
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["torch", "transformers", "onnx_ir"])
def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as Python itself marks what may not be imported
    error = _refused(write_hf(tmp_path / "hf"), tmp_path / "out")
    assert missing in error.message
    assert error.hint == "uv sync --inexact --extra convert-hf"


def test_a_packaged_binary_says_where_to_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "edgechat package" in _refused(write_hf(tmp_path / "hf"), tmp_path / "out").hint
