"""What the bundling script takes for a library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.bundle.conftest import BUNDLER


@pytest.fixture
def bundler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundler", BUNDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="only there are libraries stripped")
def test_only_programs_are_stripped(bundler: ModuleType, tmp_path: Path) -> None:
    data = tmp_path / "v0.7.1.some-named-index.parquet"
    data.write_bytes(b"PAR1")
    empty = tmp_path / "empty.so"
    empty.touch()
    assert not bundler.is_elf(data)
    assert not bundler.is_elf(empty)
    assert bundler.is_elf(Path(sys.executable))
