"""What is known before a model is loaded, with its numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgechat.doctor.preflight import Finding, Need, cpu_features, lines, need, preflight, processor, refuse_too_large
from edgechat.errors import ModelError
from edgechat.models.folder import open_model
from edgechat.models.manifest import write_manifest

GB = 1_000_000_000


@pytest.fixture
def folder(default_model: Path, tmp_path: Path) -> Path:
    """A copy of the real model whose files may be broken."""
    return Path(shutil.copytree(default_model, tmp_path / "model-copy"))


def by_id(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings}


def test_a_sound_model_that_fits(default_model: Path) -> None:
    found = by_id(preflight(open_model(default_model), free=8 * GB))
    assert (found["files"].state, found["memory"].state) == ("ok", "ok")
    assert "8.0 GB are free" in found["memory"].detail
    assert "114 MB" in found["memory"].detail


def test_the_memory_is_weights_and_context(default_model: Path) -> None:
    model = open_model(default_model)
    small, large = need(model, 1024, GB), need(model, 8192, GB)
    assert small.weights == large.weights > 50_000_000
    assert large.cache == 8 * small.cache
    assert need(model, 10**9, GB).tokens == model.context_length


def test_a_tight_model_is_warned_of(default_model: Path) -> None:
    model = open_model(default_model)
    finding = by_id(preflight(model, free=need(model).weights + 300_000_000))["memory"]
    assert finding.state == "warn"
    refuse_too_large(model, need(model).weights + 300_000_000)


def test_a_model_that_cannot_fit_is_refused_with_numbers(default_model: Path) -> None:
    model = open_model(default_model)
    with pytest.raises(ModelError) as caught:
        refuse_too_large(model, 50_000_000)
    assert caught.value.title == "The model does not fit into memory"
    assert "50.0 MB are free" in caught.value.message
    assert "weights 114 MB" in caught.value.message
    assert caught.value.hint


def test_what_computes_with_the_weights_counts_too() -> None:
    """Weights of 2.4 GB in 2.6 GB were admitted, and then killed by the system."""
    found = Need(2_400_000_000, 786_432, 4096, 2_600_000_000)
    assert found.least > found.free
    assert Need(2_400_000_000, 786_432, 4096, 3_200_000_000).least < 3_200_000_000


def test_a_truncated_file_is_seen_without_reading_it(folder: Path) -> None:
    weights = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with weights.open("r+b") as file:
        file.truncate(1000)
    finding = by_id(preflight(open_model(folder)))["files"]
    assert finding.state == "fail"
    assert weights.name in finding.detail
    assert "1,000 bytes instead of" in finding.detail


def test_wrong_bytes_are_seen_by_reading_all(folder: Path) -> None:
    weights = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with weights.open("r+b") as file:
        file.seek(5000)
        file.write(b"\x55" * 64)
    model = open_model(folder)
    told: list[tuple[int, int]] = []
    assert by_id(preflight(model))["files"].state == "ok"
    assert by_id(preflight(model, verify=True, on_progress=lambda *way: told.append(way)))["files"].state == "fail"
    assert told[-1][0] == told[-1][1] > 0


def test_a_missing_file_and_a_missing_manifest(folder: Path) -> None:
    (folder / "extra.txt").write_text("x")
    write_manifest(folder)
    (folder / "extra.txt").unlink()
    assert "extra.txt: missing" in by_id(preflight(open_model(folder)))["files"].detail
    (folder / "edgechat-manifest.json").unlink()
    for verify in (False, True):
        assert by_id(preflight(open_model(folder), verify=verify))["files"].state == "warn"


def test_what_the_processor_can_do(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert cpu_features(info) is None
    assert "unknown" in processor(info).detail
    info.write_text("processor\t: 0\nflags\t\t: fpu avx avx2 fma\n")
    assert cpu_features(info) == ("avx", "avx2", "fma")
    assert processor(info).state == "ok"
    info.write_text("flags : fpu sse2\n")
    assert processor(info).state == "warn"
    info.write_text("Features\t: fp asimd asimddp\n")
    assert processor(info).detail == "NEON, dot product"


def test_the_next_step_stands_below_what_is_wrong() -> None:
    found = (Finding("a", "A", "ok", "fine", "not shown"), Finding("b", "B", "fail", "broken", "mend it"))
    assert list(lines(found)) == ["ok A: fine", "x  B: broken", "   mend it"]
