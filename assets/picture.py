"""Draw the README's picture from the real application: `uv run python assets/picture.py`.

The chat runs on the default model, answers a question, and the screen is exported as it is. Fonts are named, not
fetched: whoever looks at the picture offline sees it too.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from edgechat.cli.opening import engine_for
from edgechat.config import load_config
from edgechat.engine.base import Sampling
from edgechat.history.store import HistoryStore
from edgechat.session import Session
from edgechat.tui.app import EdgechatApp

TURNS = (
    "What is the capital of France?",
    "Write a Python function that adds two numbers, with an example.",
)
SIZE = (100, 30)


async def draw() -> str:
    """Hold the chat and give the picture."""
    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        store = HistoryStore.open(Path(folder) / "history.db")
        session = Session(
            engine_for(config), store, system=config.system, sampling=Sampling(temperature=0), max_tokens=180
        )
        app = EdgechatApp(session)
        async with app.run_test(size=SIZE) as pilot:
            await session.start()
            for number, text in enumerate(TURNS, 1):
                app.chat.composer.insert(text)
                await pilot.press("enter")
                while session.busy or len(session.conversation.turns) < number:
                    await pilot.pause(0.1)
                await pilot.pause(0.5)
            svg = app.export_screenshot(title="edgechat")
    return re.sub(r"@font-face\s*{[^}]*}", "", svg)


if __name__ == "__main__":
    Path(__file__).with_name("chat.svg").write_text(asyncio.run(draw()), encoding="utf-8")
