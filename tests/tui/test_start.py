"""Starting: what is imported, and what is told of a model that is made ready."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from edgechat.engine.protocol import ModelInfo, Progress
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import StorageError
from edgechat.session.session import Session
from edgechat.tui.app import run_tui
from edgechat.tui.widgets.status import Activity, progress_words
from edgechat.tui.widgets.welcome import Welcome
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, ready, screen_text, until


def test_the_first_paint_imports_nothing_heavy() -> None:
    code = """
import sys
import edgechat.tui.app
heavy = {"mlflow", "pandas", "numpy", "onnxruntime", "onnxruntime_genai", "tokenizers", "markdown_it", "pygments"}
heavy |= {"torch", "transformers"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


class Installing(ScriptedEngine):
    """Makes its model ready in steps that the test lets go on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.go_on = asyncio.Event()

    async def start(self, on_progress: Callable[[Progress], None] | None = None) -> ModelInfo:
        if on_progress is not None and self.info is None:
            on_progress(Progress("install", 42, 100, "writing the graph"))
        await self.go_on.wait()
        return await super().start(on_progress)


async def test_installing_is_told_in_percent(make_app: MakeApp) -> None:
    engine = Installing()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: activity(pilot) is Activity.INSTALLING)
        assert "installing 42 % writing the graph" in screen_text(pilot).splitlines()[-1]
        assert "you can write already" in screen_text(pilot)
        engine.go_on.set()
        await ready(pilot)
        assert app.query_one(Welcome).info is not None


@pytest.mark.parametrize(
    ("progress", "activity", "note"),
    [
        (Progress("install", 1, 3), Activity.INSTALLING, "33 %"),
        (Progress("install", 0, 0, "unpacking"), Activity.INSTALLING, "unpacking"),
        (Progress("load", 0, 0), Activity.LOADING, ""),
        (Progress("prefill", 64, 2_048), Activity.READING, "64/2,048"),
    ],
)
def test_words_of_progress(progress: Progress, activity: Activity, note: str) -> None:
    assert progress_words(progress) == (activity, note)


def test_a_session_that_cannot_be_closed_is_told(monkeypatch: pytest.MonkeyPatch, make_app: MakeApp) -> None:
    app = make_app()

    async def full(_session: Session) -> None:
        app.session._store.close()
        raise StorageError("The disk is full")

    monkeypatch.setattr(Session, "aclose", full)
    monkeypatch.setattr("edgechat.tui.app.EdgechatApp.run", lambda self: asyncio.run(_visit(self)))
    with pytest.raises(StorageError):
        run_tui(app.session)


async def _visit(app: object) -> None:
    async with app.run_test() as pilot:  # type: ignore[attr-defined]
        await pilot.press("ctrl+q")
