"""What every loop that runs a model does alike."""

from __future__ import annotations

import pytest

from edgechat.engine.shared import PREFILL_CHUNK, Pace


def sizes(seconds_a_token: float, calls: int = 6) -> list[int]:
    pace = Pace()
    found = []
    for _ in range(calls):
        found.append(pace.size)
        pace.record(pace.size, pace.size * seconds_a_token)
    return found


@pytest.mark.parametrize(
    ("seconds_a_token", "expected"), [(0.001, [8, 64, 64]), (0.02, [8, 32, 32]), (0.05, [8, 8, 8]), (2, [8, 8, 8])]
)
def test_a_slow_device_computes_fewer_tokens_at_once(seconds_a_token: float, expected: list[int]) -> None:
    assert sizes(seconds_a_token, 3) == expected


def test_no_call_takes_longer_than_a_stop_can_wait() -> None:
    for thousandths in range(1, 90):
        assert all(size * thousandths / 1000 <= 0.75 for size in sizes(thousandths / 1000))


def test_one_slow_call_is_no_slow_device() -> None:
    pace = Pace()
    pace.record(8, 0.01)
    pace.record(PREFILL_CHUNK, 30)
    assert pace.size == 8
    pace.record(8, 0.01)
    assert pace.size == PREFILL_CHUNK


def test_the_rest_of_a_prompt_tells_nothing_when_it_is_quick() -> None:
    pace = Pace()
    pace.record(2, 0.001)
    assert pace.size == 8
