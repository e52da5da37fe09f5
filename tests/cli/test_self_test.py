"""`edgechat --self-test` knows right from wrong: exit codes and words for models that compute what they should not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgechat.engine.fingerprint import BOUND, FINGERPRINT
from edgechat.flavor import save_model
from edgechat.models.manifest import read_manifest, write_manifest
from edgechat.runtime.paths import own_command
from tests.support.wrong_models import copy_of, damage

pytestmark = pytest.mark.model


def self_test(model: Path | None, home: Path) -> tuple[int, Any]:
    ended = subprocess.run(
        own_command("--self-test", *([] if model is None else ["--model-uri", str(model)])),
        env={**os.environ, "EDGECHAT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture(scope="module")
def packaged(default_genai: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model's ONNX folder saved as anybody's: edgechat does not know it, it has its own fingerprint."""
    root = tmp_path_factory.mktemp("packaged") / "river"
    save_model(default_genai, root, metadata={"name": "river"})
    return root


def test_the_model_that_edgechat_carries(home_with_model: Path) -> None:
    code, told = self_test(None, home_with_model)
    assert (code, told["ok"]) == (0, True)
    numbers = told["numbers"]
    assert numbers["checked"] == "reference"
    assert 0 < numbers["distance"] < numbers["bound"] == BOUND
    assert numbers["reply"] == "The cat sat on the mat."


def test_a_model_with_a_fingerprint(packaged: Path, tmp_path: Path) -> None:
    manifest = read_manifest(packaged)
    assert manifest is not None
    assert f"model/{FINGERPRINT}" in manifest.files
    code, told = self_test(packaged, tmp_path / "home")
    assert (code, told["ok"]) == (0, True)
    assert told["numbers"]["checked"] == "fingerprint"
    assert told["numbers"]["distance"] < told["numbers"]["bound"]


def test_a_model_without_one(packaged: Path, tmp_path: Path) -> None:
    root = copy_of(packaged, tmp_path / "bare")
    (root / "model" / FINGERPRINT).unlink()
    write_manifest(root)
    code, told = self_test(root, tmp_path / "home")
    assert (code, told["ok"]) == (0, True)
    assert told["numbers"] == {"checked": "shape", "note": "no fingerprint: only shape checked"}


@pytest.mark.parametrize("known", [True, False], ids=["reference", "fingerprint"])
@pytest.mark.parametrize(
    ("kind", "title"), [("scaled", "The model computes wrong"), ("tokenizer", "The tokenizer is not the model's")]
)
def test_wrong_models_fail_in_words(
    default_model: Path, packaged: Path, tmp_path: Path, kind: str, title: str, *, known: bool
) -> None:
    root = copy_of(default_model if known else packaged, tmp_path / "wrong")
    damage(root, kind, seed=3)
    code, told = self_test(root, tmp_path / "home")
    assert code != 0
    assert (told["ok"], told["step"], told["error"]["title"]) == (False, "numbers", title)
    assert told["error"]["message"]
    assert told["error"]["hint"]


def test_a_fingerprint_that_was_tampered_with(packaged: Path, tmp_path: Path) -> None:
    root = copy_of(packaged, tmp_path / "tampered")
    path = root / "model" / FINGERPRINT
    path.write_text(path.read_text().replace("-0.", "-1.", 5))
    code, told = self_test(root, tmp_path / "home")
    assert (code != 0, told["step"]) == (True, "model")  # its digest is in the manifest
    for content in ("{}", "[]", '{"type": "fingerprint"', path.read_text().replace('"logs": [', '"logs": [[1], ')):
        path.write_text(content)
        write_manifest(root)
        code, told = self_test(root, tmp_path / "home")
        assert (code != 0, told["error"]["title"]) == (True, "Fingerprint is damaged")


def test_a_stale_fingerprint_is_made_anew(packaged: Path, tmp_path: Path) -> None:
    """Whoever changes weights and saves the model again gets the numbers of what was saved."""
    changed = copy_of(packaged, tmp_path / "changed")
    damage(changed, "scaled", seed=5)
    save_model(changed / "model", tmp_path / "again", metadata={"name": "again"})
    before, after = (path / "model" / FINGERPRINT for path in (packaged, tmp_path / "again"))
    assert before.read_bytes() != after.read_bytes()
    save_model(packaged / "model", tmp_path / "same", metadata={"name": "same"})
    assert (tmp_path / "same" / "model" / FINGERPRINT).read_bytes() == before.read_bytes()
    shutil.rmtree(changed)
