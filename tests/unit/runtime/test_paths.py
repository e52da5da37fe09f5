"""Folders of edgechat's own, and how it starts itself."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgechat.doctor.machine import confinement
from edgechat.errors import EdgechatError, StorageError
from edgechat.models.default import adjacent_model
from edgechat.runtime import clipboard, file_ownership, paths
from edgechat.settings.loader import device_path


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


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user the system does not know, as in many containers, and no HOME; the folder for temporary files."""
    for name in ("EDGECHAT_HOME", "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_without_a_home_there_is_a_private_temporary_one(homeless: Path) -> None:
    assert paths.data_dir() == homeless / f"edgechat-{os.getuid()}" / "data"
    assert paths.temporary_home() == homeless / f"edgechat-{os.getuid()}"
    assert stat.S_IMODE((homeless / f"edgechat-{os.getuid()}").stat().st_mode) == 0o700


def test_a_temporary_home_that_others_can_reach_is_refused(homeless: Path) -> None:
    (homeless / f"edgechat-{os.getuid()}").mkdir()
    (homeless / f"edgechat-{os.getuid()}").chmod(0o777)
    with pytest.raises(StorageError, match="alone") as caught:
        paths.data_dir()
    assert "EDGECHAT_HOME" in caught.value.hint


def test_a_temporary_home_that_is_a_link_is_refused(homeless: Path) -> None:
    (homeless / "elsewhere").mkdir(mode=0o700)
    (homeless / f"edgechat-{os.getuid()}").symlink_to(homeless / "elsewhere")
    with pytest.raises(StorageError, match="alone"):
        paths.data_dir()


def test_what_lies_beside_is_looked_for_only_in_a_packaged_binary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert paths.adjacent_folders() == ()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "unpacked" / "edgechat"))
    assert paths.adjacent_folders() == (tmp_path / "unpacked",)
    monkeypatch.setenv(paths.SINGLE_FILE, str(tmp_path / "stick" / "edgechat-1.0"))
    assert paths.adjacent_folders() == (tmp_path / "unpacked",)  # the folder form believes no variable
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / paths.UNPACKED).touch()
    assert paths.adjacent_folders() == (tmp_path / "stick", tmp_path / "unpacked")


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


@pytest.fixture
def user(open_folder: Path) -> Iterator[Path]:
    """A folder of a user without rights, who this process is meanwhile."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to be other users")
    open_folder.chmod(0o755)
    paths._require_own.cache_clear()
    os.seteuid(61_001)
    try:
        yield open_folder
    finally:
        os.seteuid(0)
        paths._require_own.cache_clear()


def made(path: Path, owner: int, mode: int) -> Path:
    os.seteuid(0)
    path.mkdir()
    path.chmod(mode)
    os.chown(path, owner, owner)
    os.seteuid(61_001)
    return path


@pytest.mark.parametrize(("owner", "mode"), [(61_002, 0o755), (61_002, 0o1777), (0, 0o777), (61_001, 0o777)])
def test_a_home_in_the_hands_of_others_is_refused(
    user: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int
) -> None:
    above = made(user / "above", owner, mode)
    own = made(above / "own", 61_001, 0o700)
    monkeypatch.setenv("EDGECHAT_HOME", str(own / "edgechat"))
    with pytest.raises(StorageError, match=re.escape(f"{above} ")):
        paths.data_dir()


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o755), (0, 0o1777), (61_001, 0o755), (61_001, 0o1777)])
def test_a_home_of_ones_own_is_taken(user: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int) -> None:
    own = made(made(user / "above", owner, mode) / "own", 61_001, 0o700)
    monkeypatch.setenv("EDGECHAT_HOME", str(own / "edgechat"))
    assert paths.data_dir() == own / "edgechat" / "data"


def test_links_on_the_way_to_a_home_are_followed_step_by_step(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = made(user / "own", 61_001, 0o700)
    theirs = made(user / "theirs", 61_002, 0o755)
    os.seteuid(0)
    (theirs / "second").symlink_to(own)
    (user / "first").symlink_to("theirs/second")
    (user / "plain").symlink_to("own")
    os.seteuid(61_001)
    monkeypatch.setenv("EDGECHAT_HOME", str(user / "plain"))
    assert paths.data_dir() == user / "plain" / "data"
    monkeypatch.setenv("EDGECHAT_HOME", str(user / "first"))
    with pytest.raises(StorageError, match="belongs to user 61002"):
        paths.data_dir()


def test_a_stick_without_rights_is_taken_as_it_is_mounted(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = made(user / "stick", 61_001, 0o777)
    monkeypatch.setenv("EDGECHAT_HOME", str(stick))
    monkeypatch.setattr(file_ownership, "stores_no_permissions", lambda path: path == stick)
    assert paths.data_dir() == stick / "data"


@pytest.mark.parametrize(("owner", "mode"), [(61_002, 0o755), (0, 0o777), (61_001, 0o777)])
def test_a_temporary_home_below_what_others_can_exchange_is_refused(
    user: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int
) -> None:
    above = made(user / "above", owner, mode)
    temporary = made(above / "tmp", 0, 0o1777)
    monkeypatch.delenv("EDGECHAT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(user / "gone"))
    monkeypatch.setattr(os, "getuid", os.geteuid)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(StorageError, match=re.escape(f"{above} ")):
        paths.temporary_home()


def test_a_temporary_home_in_the_hands_of_the_system_is_taken(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = made(user / "tmp", 0, 0o1777)
    monkeypatch.delenv("EDGECHAT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(user / "gone"))
    monkeypatch.setattr(os, "getuid", os.geteuid)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert paths.temporary_home() == temporary / "edgechat-61001"


@pytest.mark.parametrize("name", ["model", "edgechat.toml"])
@pytest.mark.parametrize(("owner", "mode"), [(61_002, 0o755), (0, 0o777), (61_001, 0o777)])
def test_what_lies_beside_the_binary_below_what_others_can_exchange_is_refused(
    user: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, name: str
) -> None:
    """Of a binary that is the user's own, and of one of the system's."""
    above = made(user / "above", owner, mode)
    folder = made(above / "edgechat", 61_001, 0o755)
    os.seteuid(0)
    (folder / "model").mkdir()
    (folder / "edgechat.toml").write_text("temperature = 0.5")
    (folder / "edgechat").touch()
    os.seteuid(61_001)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "edgechat"))
    with pytest.raises(StorageError, match=re.escape(f"{above} ")) as caught:
        if name == "model":
            adjacent_model()
        else:
            device_path()
    assert "move edgechat" in caught.value.hint


def test_what_lies_beside_a_binary_of_the_devices_owner_is_his_to_say(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(user / "stick", 61_002, 0o755)
    os.seteuid(0)
    for name in ("edgechat", "edgechat.toml"):
        (folder / name).touch()
        os.chown(folder / name, 61_002, 61_002)
    os.seteuid(61_001)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "edgechat"))
    assert device_path() == folder / "edgechat.toml"


def test_another_users_model_beside_the_binary_is_refused(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(user / "tmp", 0, 0o1777)
    made(folder / "model", 61_002, 0o755)
    (folder / "edgechat").touch()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "edgechat"))
    with pytest.raises(StorageError, match="user 61002"):
        adjacent_model()


UNKNOWING = """
import sys
sys.executable = {executable!r}
from edgechat.cli.main import run
raise SystemExit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("executable", ["", None])
def test_a_python_that_does_not_know_where_it_lies_is_told_in_words(tiny_phi3: Path, executable: str | None) -> None:
    """As one that was started by a bare name, without PATH."""
    program = [sys.executable, "-P", "-c", UNKNOWING.format(executable=executable)]
    ended = subprocess.run(
        [*program, "ask", "--no-history", "--model-uri", str(tiny_phi3), "hello"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("edgechat: Python cannot be found\n")
    assert "Next: Start edgechat by its full path" in ended.stderr


async def test_without_it_nothing_is_copied_and_the_doctor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EdgechatError, match="Python cannot be found") as caught:
        paths.own_command()
    assert caught.value.hint
    assert not await clipboard.copy("words")
    if sys.platform == "linux":
        (finding,) = confinement()
        assert "Python cannot be found" in finding.detail
