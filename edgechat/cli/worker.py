"""The hidden commands of edgechat's own child processes that compute; see `engine.worker` and `engine.rawloop`."""

from __future__ import annotations

import click


@click.command("_worker", hidden=True)
def worker() -> None:
    """Serve an edgechat that started this process."""
    from edgechat.engine.worker import main

    raise click.exceptions.Exit(main())


@click.command("_raw-loop", hidden=True)
def raw_loop() -> None:
    """Serve `edgechat bench`: the plain loop it compares with."""
    from edgechat.engine.rawloop import main

    raise click.exceptions.Exit(main())


@click.command("_bench-ids", hidden=True)
@click.argument("folder")
@click.argument("prompt")
def bench_ids(folder: str, prompt: str) -> None:
    """Print the ids of a chat with one message."""
    import json
    from pathlib import Path

    from edgechat.chat.conversation import Message
    from edgechat.engine.genai import GenaiModel

    click.echo(json.dumps(GenaiModel(Path(folder)).encode([Message("user", prompt)])))
