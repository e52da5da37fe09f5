"""A session on the scripted engine and a history in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from edgechat.chat.conversation import Conversation
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp


class MakeApp(Protocol):
    def __call__(
        self, engine: ScriptedEngine | None = None, *, conversation: Conversation | None = None, **options: Any
    ) -> EdgechatApp: ...


@pytest.fixture(autouse=True)
def clipboard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied; the machine's own clipboard is left alone."""
    copied: list[str] = []

    async def copy(text: str) -> bool:
        copied.append(text)
        return True

    monkeypatch.setattr("edgechat.runtime.clipboard.copy", copy)
    return copied


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 16 million colours, whatever these tests are run in."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def make_app(history: Path) -> Callable[..., EdgechatApp]:
    def make(
        engine: ScriptedEngine | None = None, *, conversation: Conversation | None = None, **options: Any
    ) -> EdgechatApp:
        session = Session(engine or ScriptedEngine(), HistoryStore.open(history), conversation=conversation)
        return EdgechatApp(session, **options)

    return make
