"""What a person sees and waits for, said once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from textual.pilot import Pilot
from textual.widget import Widget

from edgechat.engine.protocol import Event, Request, TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.tui.app import EdgechatApp
from edgechat.tui.widgets.status import Activity

HOSTILE = "\x1b[31mred\x1b[0m [bold red]x[/] [/nonsense] <script>alert(1)</script> שלום 日本語 \u202eevil"


class HeldEngine(ScriptedEngine):
    """Stops in the middle of a reply until it may go on: what is seen by then is the same on a slow machine.

    Attributes:
        hold_at: Fragments after which it waits.
        go_on: Set it to have the rest.
    """

    def __init__(self, text: str, hold_at: int) -> None:
        super().__init__([text])
        self.hold_at = hold_at
        self.go_on = asyncio.Event()

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """See `Engine.stream`."""
        written = 0
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                written += isinstance(event, TextDelta)
                if written > self.hold_at:
                    await self.go_on.wait()
                yield event


async def until(pilot: Pilot[Any], condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to be true on the screen."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never came true"
        await pilot.pause(0.01)
    await pilot.pause()


def app_of(pilot: Pilot[Any]) -> EdgechatApp:
    assert isinstance(pilot.app, EdgechatApp)
    return pilot.app


def activity(pilot: Pilot[Any]) -> Activity:
    return app_of(pilot).chat.status_line.status.activity


async def ready(pilot: Pilot[Any]) -> None:
    """The model is loaded and nothing runs."""
    await until(pilot, lambda: activity(pilot) is Activity.READY)


async def write(pilot: Pilot[Any], text: str) -> None:
    """Put a text into the composer, as a paste would."""
    app_of(pilot).chat.composer.insert(text)
    await pilot.pause()


async def send(pilot: Pilot[Any], text: str) -> None:
    """Put a text into the composer and press Enter."""
    await write(pilot, text)
    await pilot.press("enter")


async def say(pilot: Pilot[Any], text: str, until_state: Activity = Activity.READY) -> None:
    """Send a message and wait for the end of its reply."""
    app = app_of(pilot)
    before = app.session.conversation
    # On a busy machine a press comes back before the key has arrived: nothing has begun then, rather than ended.
    begun = activity(pilot) is not until_state
    await send(pilot, text)
    await until(
        pilot,
        lambda: (
            (begun or app.session.conversation is not before)
            and not app.chat.sending
            and activity(pilot) is until_state
        ),
    )


async def ask(pilot: Pilot[Any], text: str) -> None:
    """Send a message and wait for the beginning of its reply."""
    await send(pilot, text)
    await until(pilot, lambda: app_of(pilot).session.busy)


def screen_text(pilot: Pilot[Any]) -> str:
    """All characters on the screen, line by line."""
    screen = pilot.app.screen
    return "\n".join(
        "".join(segment.text for segment in strip) for strip in screen._compositor.render_strips(screen.size)
    )


def chat_text(pilot: Pilot[Any]) -> str:
    """Everything the conversation shows, whether or not it is scrolled into view."""
    parts = []
    for widget in app_of(pilot).chat.view.walk_children():
        if not isinstance(widget, Widget) or widget.is_container or not widget.region.height:
            continue
        parts += ["".join(segment.text for segment in widget.render_line(y)) for y in range(widget.size.height)]
    return "\n".join(line.rstrip() for line in parts)


async def told(pilot: Pilot[Any], words: str) -> None:
    """The conversation shows the words."""
    await until(pilot, lambda: words in chat_text(pilot))
