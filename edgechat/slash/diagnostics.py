"""Commands about edgechat itself: its log, and the doctor."""

from __future__ import annotations

import asyncio

from edgechat import doctor
from edgechat.i18n.catalog import _
from edgechat.runtime import logs
from edgechat.slash.interface import Front

MOST_LOGGED = 50
"""Maximum number of log lines shown."""


async def show_log(front: Front, _argument: str) -> None:
    """`/log`."""
    lines = [line.text for line in await asyncio.to_thread(logs.read)]
    await front.tell(str(logs.path()), lines[-MOST_LOGGED:] or [_("Nothing was logged yet.")])


async def examine(front: Front, _argument: str) -> None:
    """`/doctor`."""
    findings = await asyncio.to_thread(doctor.examine)
    await front.tell(_("Doctor"), doctor.as_text(findings).split("\n"))
