"""`edgechat _bench-tui`: the application with a stopwatch, started by `edgechat bench` in a terminal of its own."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import click

from edgechat.cli.options import engine_for
from edgechat.config import load_config
from edgechat.engine.base import Sampling
from edgechat.history.store import HistoryStore


@click.command("_bench-tui", hidden=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--history", type=click.Path(path_type=Path), required=True)
@click.option("--model-uri")
@click.option("--prompt")
@click.option("--tokens", type=int)
def bench_tui(out: Path, history: Path, model_uri: str | None, prompt: str | None, tokens: int | None) -> None:
    """Write what the stopwatch said to a file."""
    gc.disable()  # as it is when `edgechat` alone comes here; see edgechat.__main__
    from edgechat.tui.bench import BenchApp, TimedSession

    session = TimedSession(
        engine_for(load_config(model_uri=model_uri)),
        HistoryStore.open(history),
        sampling=Sampling(temperature=0, repetition_penalty=1),
        max_tokens=tokens,
    )
    app = BenchApp(session, prompt)
    app.run()
    out.write_text(json.dumps(app.result), encoding="utf-8")
