"""The chat as a person has it, and what was kept of it, for tests."""

from __future__ import annotations

import os
from pathlib import Path

from edgechat.chat.conversation import Conversation
from edgechat.history.store import HistoryStore
from edgechat.runtime import paths
from tests.support.terminal import Terminal


def chat(home: Path, *arguments: str, columns: int = 80, rows: int = 24, **settings: str) -> Terminal:
    """The real program in a real terminal, with that EDGECHAT_HOME."""
    environment = {
        "EDGECHAT_HOME": str(home),
        "EDGECHAT_TEMPERATURE": "0",
        "HOME": str(home.parent),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        **settings,
    }
    command = paths.own_command(*arguments)
    return Terminal(command, environment=environment, cwd=home.parent, columns=columns, rows=rows)


def last_chat(history: Path | None = None) -> Conversation:
    """The chat of the latest message, or an empty one; of this test's own history if none is named."""
    store = HistoryStore.open(history or paths.history_path())
    try:
        return store.latest() or Conversation(0)
    finally:
        store.close()
