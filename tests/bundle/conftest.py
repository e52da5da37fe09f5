"""The bundle every test here uses, built by the real script, once a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundles import Bundle, version_name

BUNDLER = Path(__file__).resolve().parents[2] / "build" / "bundle.py"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Both forms, with the default model. EDGECHAT_TEST_BUNDLE names an out folder that was built before."""
    made = os.environ.get("EDGECHAT_TEST_BUNDLE")
    out = Path(made) if made else tmp_path_factory.mktemp("bundle")
    if not made:
        ended = subprocess.run(
            [sys.executable, str(BUNDLER), "--onefile", "--no-archive", "--out", str(out)],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            env={name: value for name, value in os.environ.items() if not name.startswith("EDGECHAT_")},
        )
        assert ended.returncode == 0, ended.stderr
    out.chmod(0o755)
    single = next(
        path for path in out.iterdir() if path.name.startswith(f"{version_name()}-") and not path.suffix[1:].isalpha()
    )
    return Bundle(out / version_name(), single)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
