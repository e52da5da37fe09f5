"""Keys take effect in the order in which they were pressed, however fast they come.

Textual gives a letter to the text that has the focus at once, but a key such as Left travels from there through all
that is around it to the app before it does anything: letters that come within those milliseconds overtake it, as they
do from a text expander, a macro or a slow line. So an event is given to the app only when the one before it has had its
effect. Letters that follow letters need not wait: one queue takes them all. Those that came before the app could look
at the first are given as one: a text is laid out anew with each change, and where each letter is a change, a terminal
without bracketed paste would hold up everything for a time that grows with the square of what it pastes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message import Message
from textual.widgets import Input
from textual.widgets._text_area import TextArea

if TYPE_CHECKING:
    from textual._queue import Queue
    from textual.app import App
    from textual.message_pump import MessagePump
    from textual.widget import Widget

PATIENCE = 3.0
"""Seconds after which the next key is no longer kept waiting for one whose effect takes its time."""


MOST_LETTERS = 1000
"""Letters that are given as one; what is on the screen follows a long text in steps."""


class Letters(events.Key):
    """Letters for the text that has the focus, which writes them with one change.

    Attributes:
        keys: The keys that were pressed.
    """

    def __init__(self, first: events.Key) -> None:
        """Begin with one letter.

        Args:
            first: Its key.
        """
        super().__init__(first.key, first.character)
        self.keys = [first]

    def add(self, key: events.Key) -> None:
        """Take one more."""
        self.keys.append(key)
        self.character = f"{self.character}{key.character}"

    @property
    def is_printable(self) -> bool:
        """Each of them is, if only by what its key says of itself."""
        return True


Letters.handler_name = events.Key.handler_name


class InputOrder:
    """Gives keys, pastes and the mouse to an app, one after the other."""

    def __init__(self, app: App[Any], deliver: Callable[[Message], object]) -> None:
        """Nothing has come yet.

        Args:
            app: Whose they are.
            deliver: Gives it one.
        """
        self._app = app
        self._deliver = deliver
        self._waiting: deque[events.Event] = deque()
        self._last: events.Key | events.Paste | None = None
        self._letters: Letters | None = None  # what was given last, if the app has not looked at it yet
        self._target: MessagePump | None = None
        self._task: asyncio.Task[None] | None = None

    def takes(self, message: Message) -> bool:
        """Whether this is for a message that comes to the app: one from outside that was not given to anyone yet."""
        return isinstance(message, (events.InputEvent, events.Paste)) and not message.is_forwarded

    def add(self, event: Message) -> None:
        """Give the app an event when its turn comes, which is now if nothing is before it."""
        assert isinstance(event, events.Event)
        if self._task is None and not self._must_wait(event):
            self._give(event)
            return
        self._waiting.append(event)
        self._begin()

    def _begin(self) -> None:
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._give_all(), name="input order")

    def _must_wait(self, event: events.Event) -> bool:
        if self._last is None or isinstance(event, events.MouseMove):
            return False
        return not (_types(self._last) and _types(event) and self._is_written())

    def _is_written(self) -> bool:
        """Whether letters go into a text now."""
        return isinstance(self._app.focused, (TextArea, Input))

    def _give(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and _types(event) and self._is_written():
            if self._letters is not None and len(self._letters.keys) < MOST_LETTERS:
                self._letters.add(event)
                return
            event = self._letters = Letters(event)
        else:
            self._letters = None
        if isinstance(event, (events.Key, events.Paste)):
            self._last = event
        self._deliver(event)

    async def _give_all(self) -> None:
        try:
            while self._waiting:
                event = self._waiting.popleft()
                if self._must_wait(event):
                    last, self._last = self._last, None
                    with suppress(TimeoutError):  # it goes on by itself, and whoever presses Esc need not wait for it
                        await asyncio.wait_for(self._settle(last), PATIENCE)
                self._give(event)
        finally:
            self._task = None

    def aim(self, event: events.Event) -> events.Event:
        """Note who gets the event that the app is about to handle.

        Args:
            event: The event.

        Returns:
            What the app is to handle. Where letters were to be written and are keys by now, that is the first of them;
            the others take their turn.
        """
        self._letters = None
        self._target = self._target_now()
        if isinstance(event, Letters) and not self._is_written():
            first, *others = event.keys
            self._last = first
            self._waiting.extendleft(reversed(others))
            self._begin()
            return first
        return event

    def _target_now(self) -> Widget | None:
        return (self._app.focused or self._app.screen) if self._app._screen_stack else None

    async def _settle(self, event: events.Event | None) -> None:
        """Wait until an event has had its effect, and what that led to where it happened."""
        await _drained(self._app)
        for node in _outwards(self._target):
            await _drained(node)
            if event is not None and event._stop_propagation:
                break
        if event is not None and _types(event) and event._stop_propagation:
            return
        for _ in range(2):  # the effect may be a message to those around, and they may have changed the focus
            await _drained(self._app)
            for node in _outwards(self._target_now()):
                await _drained(node)


def _outwards(node: MessagePump | None) -> Iterator[MessagePump]:
    """A part of the interface and all that it is in, up to the screen."""
    while node is not None and node.has_parent:
        yield node
        node = node._parent


async def _drained(pump: MessagePump) -> None:
    """Wait until a part of the interface has handled all that it was given, or is no more."""
    reached = asyncio.get_running_loop().create_future()

    def reach() -> None:
        if not reached.done():
            reached.set_result(None)

    task = pump._task
    if _idle(pump) or pump._closing or pump._closed or not pump.call_later(reach):
        return
    await asyncio.wait([reached, *([task] if task is not None else [])], return_when=asyncio.FIRST_COMPLETED)


def _idle(pump: MessagePump) -> bool:
    """Whether it waits for something to do, which spares it from being asked."""
    queue: Queue[Message | None] = pump._message_queue
    return bool(queue.empty() and getattr(queue.ready_event, "_waiters", ()))


def _types(event: events.Event) -> bool:
    """Whether an event does nothing but write text."""
    return isinstance(event, events.Key) and event.is_printable
