"""Draw the README's pictures from the real application: `uv run python assets/picture.py`.

The chat runs on the default model, answers questions, and the screens are exported as they are. Fonts are named, not
fetched: whoever looks at a picture offline sees it too.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from pathlib import Path

# A terminal of many colours, whatever this is run in; asked when the interface is imported.
os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "EDGECHAT_BIDI": "app"}

from textual.pilot import Pilot

from edgechat.engine.protocol import Sampling
from edgechat.history.store import HistoryStore
from edgechat.i18n import catalog
from edgechat.session.factory import engine_for
from edgechat.session.session import Session
from edgechat.settings.loader import load_config
from edgechat.tui.app import EdgechatApp

SIZE = (124, 32)
OTHERS = ("Why is the sky blue?", "Name three rivers in Europe.")
TURNS = ("What is the capital of France?", "Write a Python function that adds two numbers, with an example.")


async def say(pilot: Pilot[None], session: Session, text: str) -> None:
    """Send a message and wait for its whole reply."""
    turns = len(session.conversation.turns)
    app = pilot.app
    assert isinstance(app, EdgechatApp)
    app.chat.composer.insert(text)
    await pilot.press("enter")
    while session.busy or len(session.conversation.turns) == turns:
        await pilot.pause(0.1)
    await pilot.pause(0.5)


def export(app: EdgechatApp, name: str) -> None:
    """Write the screen to a file beside this one."""
    svg = re.sub(r"@font-face\s*{[^}]*}", "", app.export_screenshot(title="edgechat"))
    # The text is in the order of the screen; a viewer is not to order it once more.
    svg = svg.replace("<style>", "<style>text{unicode-bidi:bidi-override;direction:ltr}", 1)
    Path(__file__).with_name(f"{name}.svg").write_text(svg, encoding="utf-8")


async def draw() -> None:
    """Hold the chats and write the pictures."""
    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        store = HistoryStore.open(Path(folder) / "history.db")
        session = Session(
            engine_for(config), store, system=config.system, sampling=Sampling(temperature=0), max_tokens=180
        )
        app = EdgechatApp(session)
        async with app.run_test(size=SIZE) as pilot:
            app.chat.composer.cursor_blink = False
            await session.start()
            for text in OTHERS:
                await say(pilot, session, text)
                await pilot.press("ctrl+n")
            for text in TURNS:
                await say(pilot, session, text)
            export(app, "chat")
            await pilot.press("f10")
            await pilot.pause(2)
            export(app, "models")
            await pilot.press("escape", "ctrl+s")
            await pilot.pause(1)
            app.theme = "edgechat-light"
            await pilot.pause(1)
            export(app, "settings")


async def draw_hebrew() -> None:
    """The interface in Hebrew."""
    catalog.use("he")
    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        store = HistoryStore.open(Path(folder) / "history.db")
        session = Session(engine_for(config), store, sampling=Sampling(temperature=0), max_tokens=60)
        app = EdgechatApp(session)
        async with app.run_test(size=SIZE) as pilot:
            app.chat.composer.cursor_blink = False
            await session.start()
            await pilot.pause(1)
            await pilot.press("ctrl+s")
            await pilot.pause(1)
            export(app, "hebrew")


if __name__ == "__main__":
    asyncio.run(draw())
    asyncio.run(draw_hebrew())
