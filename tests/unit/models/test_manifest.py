"""The manifest: what it notices, and what it spares at each start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.errors import ModelError, StorageError
from edgechat.models import manifest
from edgechat.models.manifest import (
    MANIFEST,
    Problem,
    ensure_intact,
    quick_check,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from edgechat.runtime import paths

Damage = Callable[[Path], object]


def flip(folder: Path) -> None:
    """Change one byte, keeping size and time: what a bad disk does."""
    path = folder / "model.onnx.data"
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    status = path.stat()
    path.write_bytes(raw)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(folder: Path) -> None:
    os.truncate(folder / "model.onnx", 10)


DAMAGES: list[tuple[Damage, str, str]] = [
    (flip, "changed", "model.onnx.data"),
    (truncate, "changed", "model.onnx"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "missing", "tokenizer.json"),
    (lambda folder: (folder / "extra.bin").write_bytes(b"x"), "extra", "extra.bin"),
    (lambda folder: (folder / "extra").symlink_to("/etc/hostname"), "unreadable", "extra"),
]


def test_a_fresh_manifest_matches(genai: Path) -> None:
    seen: list[tuple[int, int]] = []
    written = write_manifest(genai, lambda done, total: seen.append((done, total)))
    assert read_manifest(genai) == written
    data = json.loads((genai / MANIFEST).read_text())
    assert data["version"] == 1
    assert data["created"].startswith("20")
    assert set(data["files"]) == {"genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"}
    assert verify_manifest(genai) == []
    assert quick_check(genai).state == "verified"
    assert seen[-1][0] == seen[-1][1] == sum(entry["size"] for entry in data["files"].values())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(("damage", "kind", "path"), DAMAGES)
def test_verify_notices(genai: Path, damage: Damage, kind: str, path: str) -> None:
    write_manifest(genai)
    damage(genai)
    assert [(problem.kind, problem.path) for problem in verify_manifest(genai)] == [(kind, path)]


def test_verify_tells_everything_at_once(genai: Path) -> None:
    write_manifest(genai)
    for damage, _, _ in DAMAGES[:4]:
        damage(genai)
    assert [problem.kind for problem in verify_manifest(genai)] == ["extra", "changed", "changed", "missing"]


def test_an_unreadable_file_is_told(genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(genai)

    def fails(path: Path, on_bytes: object = None) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(manifest, "hash_file", fails)
    assert {problem.kind for problem in verify_manifest(genai)} == {"unreadable"}


def test_what_comes_and_goes_is_not_extra(genai: Path) -> None:
    write_manifest(genai)
    (genai / "registered_model_meta").write_text("model_name: x")
    (genai / ".DS_Store").write_text("x")
    (genai / "__pycache__").mkdir()
    (genai / "__pycache__" / "x.pyc").write_text("x")
    assert verify_manifest(genai) == []


def test_files_in_folders_and_behind_links(genai: Path) -> None:
    (genai / "deep" / "er").mkdir(parents=True)
    (genai / "deep" / "er" / "ünï.bin").write_bytes(b"x" * 5000)
    (genai / "link").symlink_to("deep")
    written = write_manifest(genai)
    assert {"deep/er/ünï.bin", "link/er/ünï.bin"} <= set(written.files)
    assert verify_manifest(genai) == []


def test_without_a_manifest(genai: Path) -> None:
    assert read_manifest(genai) is None
    assert quick_check(genai).state == "unverified"
    with pytest.raises(ModelError, match="Nothing to verify against"):
        verify_manifest(genai)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "files": {}}',
        '{"version": 1}',
        '{"version": 1, "files": {"a": 3}}',
        '{"version": 1, "files": {"../a": {"size": 1, "sha256": "x"}}}',
        '{"version": 1, "files": {"/a": {"size": 1, "sha256": "x"}}}',
        "[" * 100_000,
    ],
    ids=lambda value: value[:40],
)
def test_a_damaged_manifest(genai: Path, text: str) -> None:
    (genai / MANIFEST).write_text(text)
    for look in (quick_check, verify_manifest):
        with pytest.raises(ModelError, match="Manifest is damaged"):
            look(genai)


def count_hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    hashed: list[str] = []
    real = manifest.hash_file

    def counting(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
        hashed.append(path.name)
        return real(path, on_bytes)

    monkeypatch.setattr(manifest, "hash_file", counting)
    return hashed


def test_the_quick_check_hashes_once_and_again_what_was_touched(genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(genai)
    hashed = count_hashed(monkeypatch)
    assert quick_check(genai).state == "verified"
    assert len(hashed) == 4
    hashed.clear()
    assert quick_check(genai).state == "verified"
    assert hashed == []
    os.utime(genai / "model.onnx", (1, 1))
    assert quick_check(genai).state == "verified"
    assert hashed == ["model.onnx"]
    assert quick_check(genai).state == "verified"
    assert hashed == ["model.onnx"]


def test_a_copied_folder_is_hashed_once(genai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(genai)
    quick_check(genai)
    copy = tmp_path / "copy"
    shutil.copytree(genai, copy)
    hashed = count_hashed(monkeypatch)
    assert quick_check(copy).state == "verified"
    assert len(hashed) == 4
    assert quick_check(copy).state == "verified"
    assert len(hashed) == 4


def test_times_are_worth_nothing_with_another_manifest(genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(genai)
    quick_check(genai)
    data = json.loads((genai / MANIFEST).read_text())
    data["files"]["model.onnx"]["sha256"] = "0" * 64
    (genai / MANIFEST).write_text(json.dumps(data))
    assert quick_check(genai).problems == (Problem("changed", "model.onnx", "other bytes than were installed"),)


def test_the_quick_check_notices(genai: Path) -> None:
    write_manifest(genai)
    quick_check(genai)
    truncate(genai)
    (genai / "tokenizer.json").unlink()
    (genai / "extra").write_text("left to verify")
    check = quick_check(genai)
    assert check.state == "damaged"
    assert [(problem.kind, problem.path) for problem in check.problems] == [
        ("changed", "model.onnx"),
        ("missing", "tokenizer.json"),
    ]


def test_a_change_that_keeps_the_size_is_noticed_by_its_time(genai: Path) -> None:
    write_manifest(genai)
    quick_check(genai)
    raw = (genai / "model.onnx").read_bytes()
    (genai / "model.onnx").write_bytes(b"X" + raw[1:])
    assert quick_check(genai).state == "damaged"
    assert quick_check(genai).state == "damaged", "a wrong file is never recorded as right"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"manifest": 1}', b'{"manifest": "x", "files": 3}'])
def test_a_damaged_cache_of_times_costs_a_hash(genai: Path, raw: bytes) -> None:
    write_manifest(genai)
    quick_check(genai)
    cached = next((paths.cache_dir() / "verified").iterdir())
    cached.write_bytes(raw)
    assert quick_check(genai).state == "verified"


def test_a_cache_that_cannot_be_written_is_no_error(genai: Path) -> None:
    write_manifest(genai)
    paths.cache_dir().parent.mkdir(parents=True, exist_ok=True)
    paths.cache_dir().write_text("a file where the folder should be")
    assert quick_check(genai).state == "verified"


def test_a_folder_that_cannot_be_written(genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path, *_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StorageError, match="Read-only"):
        write_manifest(genai)
    assert not [path for path in genai.iterdir() if path.name.endswith(".tmp")]


def test_a_damaged_model_is_not_to_be_loaded(genai: Path) -> None:
    assert ensure_intact(genai).state == "unverified"
    write_manifest(genai)
    assert ensure_intact(genai).state == "verified"
    truncate(genai)
    with pytest.raises(ModelError, match=r"model\.onnx in .* is changed \(10 bytes instead of 1,000\)\."):
        ensure_intact(genai)
    (genai / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"and 1 more\."):
        ensure_intact(genai)
