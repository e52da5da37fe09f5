"""Folders of edgechat's own, and how it starts itself."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgechat import paths
from edgechat.errors import StorageError


def test_every_missing_parent_is_private(tmp_path: Path) -> None:
    folder = paths.make_private(tmp_path / "a" / "b" / "c")
    for made in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert paths.make_private(folder) == folder


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/below"):
        paths.make_private(tmp_path / "file" / "below")


def test_everything_lies_below_one_folder_if_asked(own_home: Path) -> None:
    folders = [paths.config_dir(), paths.data_dir(), paths.cache_dir(), paths.state_dir(), paths.models_dir()]
    assert all(own_home in folder.parents for folder in folders)
    assert len(set(folders)) == len(folders)


def test_a_home_that_does_not_exist_is_an_error_with_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HOME", "~no-such-user-here/x")
    with pytest.raises(StorageError, match="home folder") as caught:
        paths.data_dir()
    assert "EDGECHAT_HOME" in caught.value.hint


def test_no_home_at_all_is_an_error_with_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user the system does not know, as in many containers, and no HOME: platformdirs raises RuntimeError."""
    for name in ("EDGECHAT_HOME", "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(StorageError, match="home folder"):
        paths.data_dir()


def test_it_starts_itself_whatever_lies_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('the working directory was imported')")
    (tmp_path / "edgechat").mkdir()
    (tmp_path / "edgechat" / "__init__.py").write_text("raise SystemExit('the working directory was imported')")
    ended = subprocess.run(
        paths.own_command("--version"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout.startswith("edgechat "), ended.stderr


def test_a_frozen_binary_is_its_own_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert paths.own_command("_worker") == [sys.executable, "_worker"]
