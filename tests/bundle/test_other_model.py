"""A bundle with another model than the default one, in the archive that is handed on; and a bundle measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import pytest

from edgechat.models.manifest import read_manifest
from edgechat.runtime.paths import own_command
from tests.bundle.conftest import BUNDLER
from tests.support.bundles import Bundle, device, needs_strip, self_test, version_name

pytestmark = pytest.mark.model


@needs_strip
def test_an_archive_with_a_model_of_ones_own(tiny_phi3: Path, home: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(BUNDLER), "--model", str(tiny_phi3), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={name: value for name, value in os.environ.items() if not name.startswith("EDGECHAT_")},
    )
    assert ended.returncode == 0, ended.stderr
    archive = next((tmp_path / "out").glob("*.tar.xz"))
    assert archive.stat().st_size <= 40_000_000  # the model of this test is a few kilobytes
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "stick", filter="data")
    folder = tmp_path / "stick" / version_name()
    told = self_test([folder / "edgechat"], device(home))
    assert told["model"]["folder"] == str(folder / "model")
    manifest = read_manifest(folder / "model")
    assert manifest is not None
    epoch = json.loads((folder / "bundle.json").read_bytes())["source_date_epoch"]
    assert datetime.fromisoformat(manifest.created).timestamp() == epoch


def test_a_packaged_edgechat_is_measured_against_this_one(bundle: Bundle, home_with_model: Path) -> None:
    command = own_command("bench", "--packaged", str(bundle.program), "--rounds", "1", "--tokens", "24", "--json")
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    print(ended.stdout)
    figures = json.loads(ended.stdout)["figures"]
    assert set(figures) == {"packaged_paint", "packaged_decode"}
    for figure in figures.values():
        assert len(figure["ours"]) == len(figure["reference"]) > 0
        assert 0.1 < figure["ratio"] < 10
