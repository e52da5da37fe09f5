"""One thing at a time: what a session is busy with, and who is refused meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from edgechat.errors import EngineError
from edgechat.session.activity import Activity, Work


@pytest.mark.parametrize(("work", "words"), [("reply", "A reply is being written"), ("switch", "Another model")])
async def test_a_second_piece_of_work_is_refused_with_the_reason(work: Work, words: str) -> None:
    activity = Activity()
    activity.refuse_while_busy()
    activity.begin(work)
    assert activity.busy
    with pytest.raises(EngineError, match=words):
        activity.begin("reply")
    activity.end()
    activity.refuse_while_busy()
    activity.begin("reply")


async def test_a_stop_is_for_the_work_under_way_alone() -> None:
    activity = Activity()
    activity.begin("reply")
    activity.request_stop()
    await activity.wait_for_stop()
    assert activity.stop_requested()
    activity.end()
    activity.begin("reply")
    assert not activity.stop_requested()


async def test_waiting_for_the_end_has_an_end() -> None:
    activity = Activity()
    await activity.wait_until_idle(10)
    activity.begin("reply")
    await activity.wait_until_idle(0.01)
    asyncio.get_running_loop().call_later(0.01, activity.end)
    await activity.wait_until_idle(10)
    assert not activity.busy
