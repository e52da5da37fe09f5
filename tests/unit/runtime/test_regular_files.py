"""Files under names that others chose: what is no file is refused at once, however it is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.chat.attachments import AttachmentError, read_file
from edgechat.convert.gguf.converter import check_gguf
from edgechat.errors import ConfigError, ConvertError, EdgechatError, ModelError
from edgechat.examples.evaluate import read_questions
from edgechat.models.folder import open_model
from edgechat.models.huggingface import read_hf_folder
from edgechat.models.manifest import MANIFEST, quick_check
from edgechat.runtime import paths
from edgechat.runtime.regular_files import TooLargeError, open_regular, read_regular
from edgechat.settings import personas
from edgechat.settings.loader import config_path, load_settings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has room for a hundred bytes
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


KINDS = pytest.mark.parametrize("make", [pipe, device, folder, bound_socket])


@KINDS
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x")
    with pytest.raises(OSError, match=r"it is a (named pipe|device|folder|socket)"):
        read_regular(tmp_path / "x", 10)
    with pytest.raises(OSError, match="it is a"):
        open_regular(tmp_path / "x")


def test_files_are_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "x", 10) == b"0123456789"
    with pytest.raises(TooLargeError) as caught:
        read_regular(tmp_path / "x", 9)
    assert caught.value.size == 10
    # The kernel's own files have no size, and may have any number of bytes.
    with pytest.raises(TooLargeError):
        read_regular(Path("/proc/self/maps"), 9)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "y", 9)


@KINDS
def test_every_file_that_is_read_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    def refused(name: str, error: type[EdgechatError], read: Callable[[Path], object]) -> None:
        place = tmp_path / f"in-{name}"
        place.mkdir()
        make(place / name)
        with pytest.raises(error) as caught:
            read(place / name)
        assert caught.value.message

    refused(MANIFEST, ModelError, lambda path: quick_check(path.parent))
    refused("MLmodel", ModelError, lambda path: open_model(path.parent))
    refused("genai_config.json", ModelError, lambda path: open_model(path.parent))
    refused("config.json", ModelError, lambda path: read_hf_folder(path.parent))
    refused("model.gguf", ConvertError, check_gguf)
    refused("persona.md", ConfigError, personas.read)
    refused("attached.txt", AttachmentError, read_file)
    refused("questions.json", ConfigError, read_questions)
    monkeypatch.setenv("EDGECHAT_HOME", str(tmp_path / "home"))
    paths.config_dir().mkdir(parents=True)
    make(config_path())
    with pytest.raises(ConfigError, match=r"Settings file cannot be read"):
        load_settings()
