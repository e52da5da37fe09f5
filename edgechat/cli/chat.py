"""`edgechat` without a command: the chat in the terminal."""

from __future__ import annotations

import sys

from edgechat import paths
from edgechat.cli.opening import engine_for, sampling_of
from edgechat.config import load_config
from edgechat.engine.base import Engine
from edgechat.errors import ConfigError
from edgechat.history.store import HistoryStore
from edgechat.session import Session


def chat(*, model_uri: str | None = None, resume: bool = False, system: str | None = None, demo: bool = False) -> int:
    """Open the TUI.

    Args:
        model_uri: The model named on the command line.
        resume: Go on with the last chat.
        system: System message named on the command line.
        demo: Use the scripted engine.

    Returns:
        The exit code.

    Raises:
        ConfigError: A setting is not usable, or there is no terminal.
        StorageError: The history cannot be opened.
    """
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()):
        raise ConfigError(
            "No terminal",
            "The chat needs a terminal for its input and its output.",
            'In a script use `edgechat ask "question"`.',
        )
    config = load_config(model_uri=model_uri, system=system)
    store = HistoryStore.open(paths.history_path())
    engine: Engine
    if demo:
        from edgechat.engine.scripted import ScriptedEngine

        engine = ScriptedEngine(delay=0.05)
    else:
        engine = engine_for(config)
    session = Session(
        engine,
        store,
        conversation=store.latest() if resume else None,
        system=config.system,
        sampling=sampling_of(config),
        max_tokens=config.max_tokens,
    )
    from edgechat.tui.app import run_tui

    return run_tui(session)
