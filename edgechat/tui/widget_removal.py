"""Parts of the interface that are taken away are taken away whole, whoever waits for it.

Textual waits for them in a way that ends their tasks when the one who waits is cancelled, as a worker is by the next of
its group. Everybody else who waits for the same parts is then cancelled as well, the app among them: it ended, with
code 0. So waiting is only waiting here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from textual._callback import invoke
from textual.await_remove import AwaitRemove


async def _wait(removal: AwaitRemove) -> None:
    current = asyncio.current_task()
    if tasks := [task for task in removal._tasks if task is not current]:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    if removal._post_remove is not None:
        await invoke(removal._post_remove)


def _await(self: AwaitRemove) -> Generator[None, None, None]:
    return _wait(self).__await__()


def remove_whole() -> None:
    """Let nobody who stops waiting for a removal end what is removed from now on."""
    AwaitRemove.__await__ = _await  # type: ignore[method-assign]
