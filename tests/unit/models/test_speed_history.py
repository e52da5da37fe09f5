"""The speed measured here: per model and machine, bounded, and never in the way."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgechat.models import speed_history


def test_the_median_of_the_last_replies() -> None:
    assert speed_history.measured("a") is None
    for speed in (1.0, *[40.0] * 4, *[50.0] * 5):
        speed_history.record("a", 100, speed)
    speed_history.record("b", 100, 7.0)
    assert speed_history.measured("a") == (50.0, speed_history.REMEMBERED)
    assert speed_history.measured("b") == (7.0, 1)
    assert stat.S_IMODE(speed_history.path().stat().st_mode) == 0o600
    assert [path.name for path in speed_history.path().parent.iterdir()] == ["speeds.json"]


def test_a_short_reply_measures_nothing() -> None:
    speed_history.record("a", speed_history.LEAST_TOKENS - 1, 50.0)
    speed_history.record("a", 100, 0.0)
    assert speed_history.measured("a") is None


def test_another_machine_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    speed_history.record("a", 100, 50.0)
    monkeypatch.setattr(speed_history, "cpu_name", lambda: "another processor")
    assert speed_history.measured("a") is None
    speed_history.record("a", 100, 5.0)
    assert speed_history.measured("a") == (5.0, 1)


@pytest.mark.parametrize("content", [b"", b"{", b'{"machines": 3}', b"\xff"])
def test_a_damaged_file_is_begun_anew(content: bytes) -> None:
    speed_history.path().parent.mkdir(parents=True)
    speed_history.path().write_bytes(content)
    assert speed_history.measured("a") is None
    speed_history.record("a", 100, 50.0)
    assert speed_history.measured("a") == (50.0, 1)


def test_a_folder_that_cannot_be_made_is_passed_over(own_home: Path) -> None:
    own_home.write_text("a file")
    speed_history.record("a", 100, 50.0)
    assert speed_history.measured("a") is None
