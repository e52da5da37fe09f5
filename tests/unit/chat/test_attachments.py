"""Text files that go along with a message: what is read, what is refused, and which pastes are paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgechat.chat.attachments import LARGEST, AttachmentError, paths_in, read_file, too_large


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\nlines\n", "plain\nlines\n"),
        ("\ufeffwith a mark".encode(), "with a mark"),
        ("UTF-16 שלום 日本".encode("utf-16"), "UTF-16 שלום 日本"),
        (b"\xfe\xff" + "big end".encode("utf-16-be"), "big end"),
        (b"dos\r\nlines\r\n", "dos\nlines\n"),
    ],
)
def test_text_is_read(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert read_file(path).text == text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
        (b"text with \x00 in it", "not a text file"),
        ("Latin-1: é".encode("latin-1"), "not a text file"),
        (b" \n", "is empty"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(AttachmentError) as caught:
        read_file(path)
    assert words in caught.value.title


def test_folders_pipes_and_absent_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for name, words in ((".", "folder"), ("pipe", "not a regular file"), ("absent", "No such file")):
        with pytest.raises(AttachmentError) as caught:
            read_file(tmp_path / name)
        assert words in caught.value.message
        assert caught.value.hint


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)  # sparse: it takes no space
    with pytest.raises(AttachmentError, match="16,777,217 bytes"):
        read_file(path)


def test_the_numbers_of_one_that_is_too_large_for_the_model() -> None:
    assert "12,345 tokens; the context holds 4,096" in too_large("a.txt", 12345, 4096).message


def test_a_block_has_a_fence_that_nothing_in_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("before\n````py\nx\n````\nafter\n", encoding="utf-8")
    assert read_file(path).block == "a.md\n`````\nbefore\n````py\nx\n````\nafter\n`````"


def test_a_name_cannot_break_out_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines \x1b[31m.txt"
    path.write_text("x", encoding="utf-8")
    assert read_file(path).block.splitlines()[0] == "two lines \u241b[31m.txt"


def test_a_paste_of_paths(tmp_path: Path) -> None:
    one, two = tmp_path / "one file.txt", tmp_path / "two.txt"
    one.write_text("1")
    two.write_text("2")
    escaped = str(one).replace(" ", "\\ ")
    uri = one.as_uri()
    assert "%20" in uri
    for pasted in (f"'{one}'", f'"{one}" ', escaped, str(one), uri):
        assert paths_in(pasted) == [one], pasted
    for pasted in (f"'{one}' {two}", f"{escaped} {two}\n", f"{one}\n{two}\n", f"{uri}\n{two.as_uri()}\n"):
        assert paths_in(pasted) == [one, two], pasted


def test_a_paste_of_anything_else(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("1")
    for pasted in ("", "one.txt", f"see {one}", f"{one} {one}x", str(tmp_path), "it's", "/\0", "word " * 5000):
        assert paths_in(pasted) == [], pasted[:50]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_every_form_of_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Pump 3 error: Überdruck\n".encode(encoding))
    assert read_file(path).text == "Pump 3 error: Überdruck\n"
