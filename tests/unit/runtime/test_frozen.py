"""What a packaged edgechat sets right at its start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgechat.runtime.frozen import set_up


def test_elsewhere_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    before = dict(os.environ)
    set_up()
    assert dict(os.environ) == before


@pytest.mark.parametrize("mine", [None, "/mine"])
def test_other_programs_get_the_users_library_path(monkeypatch: pytest.MonkeyPatch, mine: str | None) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/bundle/_internal")
    monkeypatch.setenv("PYINSTALLER_RESET_ENVIRONMENT", "")
    if mine is not None:
        monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", mine)
    set_up()
    assert os.environ.get("LD_LIBRARY_PATH") == mine
    assert os.environ["PYINSTALLER_RESET_ENVIRONMENT"] == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_code_stays_at_hand_when_its_file_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = tmp_path / "edgechat"
    code.write_bytes(b"code")
    archive = SimpleNamespace(_filename=str(code))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setitem(sys.modules, "pyimod02_importers", SimpleNamespace(pyz_archive=archive))
    monkeypatch.setenv("PYINSTALLER_RESET_ENVIRONMENT", "")
    set_up()
    code.unlink()
    assert Path(archive._filename).read_bytes() == b"code"
    os.close(int(Path(archive._filename).name))
