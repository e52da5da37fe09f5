"""Work that must not be left half done when its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def run_to_completion(work: Coroutine[Any, Any, _Result] | asyncio.Task[_Result]) -> _Result:
    """Run work to completion even if the caller is cancelled, however often, then re-raise.

    Raises:
        CancelledError: The caller was cancelled; the work is done by then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
