"""The child processes of `edgechat bench`: an instrumented chat, and the ids of a prompt."""

from __future__ import annotations

import json
from pathlib import Path

from edgechat.engine.protocol import Engine, Sampling
from edgechat.history.store import HistoryStore
from edgechat.session.factory import engine_for
from edgechat.settings.loader import load_config


def tui(out: str, task: str) -> int:
    """Run the chat in this terminal and write the measurements.

    Args:
        out: The file to write.
        task: A JSON object with `history`, `model_uri`, `prompt`, `tokens` and `scripted`; see `processes.in_terminal`.

    Returns:
        The exit code.
    """
    from edgechat.bench.stopwatch_engine import StopwatchEngine
    from edgechat.bench.tui_child import BenchApp
    from edgechat.session.session import Session

    options = json.loads(task)
    store = HistoryStore.open(Path(options["history"]))
    engine: Engine
    if (scripted := options.get("scripted")) is not None:
        from edgechat.bench.long import story
        from edgechat.engine.scripted import ScriptedEngine

        engine = ScriptedEngine([story(scripted["words"])], delay=0.0005, context=1_000_000)
        conversation = store.conversation(scripted["chat"])
    else:
        engine, conversation = engine_for(load_config(model_uri=options["model_uri"])), None
    stopwatch = StopwatchEngine(engine)
    session = Session(
        stopwatch,
        store,
        conversation=conversation,
        sampling=Sampling(temperature=0, repetition_penalty=1),
        max_tokens=options["tokens"],
    )
    app = BenchApp(session, stopwatch, options["prompt"])
    app.run()
    Path(out).write_text(json.dumps(app.result), encoding="utf-8")
    return app.return_code or 0


def ids(folder: str, prompt: str) -> int:
    """Print the ids of a chat with a single message.

    Args:
        folder: The ONNX GenAI folder.
        prompt: The message.

    Returns:
        The exit code.
    """
    import sys

    from edgechat.chat.conversation import Message
    from edgechat.engine.genai import GenaiModel

    sys.stdout.write(json.dumps(GenaiModel(Path(folder)).encode([Message("user", prompt)])))
    return 0
