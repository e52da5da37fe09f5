"""The speed measured here: per model and machine, bounded, and never in the way."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgechat import speeds


def test_the_median_of_the_last_replies() -> None:
    assert speeds.measured("a") is None
    for speed in (1.0, *[40.0] * 4, *[50.0] * 5):
        speeds.note("a", 100, speed)
    speeds.note("b", 100, 7.0)
    assert speeds.measured("a") == (50.0, speeds.KEPT)
    assert speeds.measured("b") == (7.0, 1)
    assert stat.S_IMODE(speeds.path().stat().st_mode) == 0o600
    assert [path.name for path in speeds.path().parent.iterdir()] == ["speeds.json"]


def test_a_short_reply_measures_nothing() -> None:
    speeds.note("a", speeds.LEAST_TOKENS - 1, 50.0)
    speeds.note("a", 100, 0.0)
    assert speeds.measured("a") is None


def test_another_machine_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds.note("a", 100, 50.0)
    monkeypatch.setattr(speeds, "cpu_name", lambda: "another processor")
    assert speeds.measured("a") is None
    speeds.note("a", 100, 5.0)
    assert speeds.measured("a") == (5.0, 1)


@pytest.mark.parametrize("content", [b"", b"{", b'{"machines": 3}', b"\xff"])
def test_a_damaged_file_is_begun_anew(content: bytes) -> None:
    speeds.path().parent.mkdir(parents=True)
    speeds.path().write_bytes(content)
    assert speeds.measured("a") is None
    speeds.note("a", 100, 50.0)
    assert speeds.measured("a") == (50.0, 1)


def test_a_folder_that_cannot_be_made_is_passed_over(own_home: Path) -> None:
    own_home.write_text("a file")
    speeds.note("a", 100, 50.0)
    assert speeds.measured("a") is None
