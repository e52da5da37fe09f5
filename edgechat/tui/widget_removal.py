"""Parts of the interface that are taken away are taken away whole, whoever waits for it.

Textual waits for them in a way that ends their tasks when the one who waits is cancelled, as a worker is by the next of
its group. Everybody else who waits for the same parts is then cancelled as well, the app among them: it ended, with
code 0. So waiting is only waiting here.

Until the next layout the compositor knows them still. Textual would take a press of the mouse there for one on them,
and end over their having no parent. So the mouse finds what is there and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from textual._callback import invoke
from textual._compositor import Compositor
from textual.await_remove import AwaitRemove
from textual.errors import NoWidget
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker

SAVES = ("save", "keys")
"""Workers of cards that write a file and then say so."""

_all_at = Compositor.get_widgets_at


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


def _present_at(self: Compositor, x: int, y: int) -> Iterator[tuple[Widget, Region]]:
    return ((widget, region) for widget, region in _all_at(self, x, int(y)) if widget.is_attached)


def _first_present_at(self: Compositor, x: int, y: int) -> tuple[Widget, Region]:
    for found in _present_at(self, x, y):
        return found
    raise NoWidget(f"No widget under screen coordinate ({x}, {y})")


def remove_whole() -> None:
    """Let nobody who stops waiting for a removal end what is removed from now on, and the mouse find it no more."""
    AwaitRemove.__await__ = _await  # type: ignore[method-assign]
    Compositor.get_widgets_at = _present_at  # type: ignore[method-assign]
    Compositor.get_widget_at = _first_present_at  # type: ignore[method-assign]


def cancel_workers_of(nodes: Iterable[Widget], workers: Iterable[Worker[Any]]) -> None:
    """End what parts of the interface are finding out to show it, before any of them is gone.

    Textual ends it when all within is gone already, and what came of it in between would find nothing to be shown in: a
    fault, where somebody only left.

    Args:
        nodes: What is to be taken away, with all that is in it.
        workers: All workers of the app.
    """
    going = {part for node in nodes for part in node.walk_children(with_self=True)}
    ours = asyncio.current_task()
    for worker in list(workers):
        if worker.node in going and worker._task is not ours and not _outlasts(worker):
            worker.cancel()


def _outlasts(worker: Worker[Any]) -> bool:
    """Whether something is done rather than found out: a chat goes on, and settings are written."""
    return (isinstance(worker.node, Screen) and not worker.node.is_modal) or worker.name in SAVES
