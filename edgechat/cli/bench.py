"""`edgechat bench`: the performance of this machine, as ratios measured in one run.

Absolute times on a shared or warm machine mean little, so each measurement alternates with its baseline several times,
and the median ratio is reported. Nothing here fails on a slow machine.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import click

from edgechat.bench.report import table
from edgechat.cli.options import model_option
from edgechat.settings.loader import load_config


@click.command()
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Pairs to measure.")
@click.option("--tokens", type=click.IntRange(8, 4096), default=128, show_default=True, help="Tokens of each reply.")
@click.option("--tui/--no-tui", default=True, help="Whether to measure the chat in a terminal too.")
@click.option(
    "--packaged",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="BINARY",
    help="Measure a packaged edgechat against this one.",
)
@click.option("--scoring", is_flag=True, help="Measure mlflow.pyfunc instead; needs edgechat[mlflow].")
@click.option("--turns", is_flag=True, help="Measure what is not computed twice instead: turns, replies, chats.")
@click.option("--history", "of_history", is_flag=True, help="Measure a history of 10,000 chats against an empty one.")
@click.option("--long", "of_long", is_flag=True, help="Measure a chat of 2,000 messages and a reply of 50,000 tokens.")
@click.pass_context
def bench(
    ctx: click.Context,
    model_uri: str | None,
    as_json: bool,
    rounds: int,
    tokens: int,
    tui: bool,
    packaged: Path | None,
    scoring: bool,
    turns: bool,
    of_history: bool,
    of_long: bool,
) -> None:
    """Measure the chat against the plainest loop around the same model, on this machine.

    \b
    Examples:
      edgechat bench                    a table
      edgechat bench --json > me.json   for a comparison
      edgechat bench --packaged dist/edgechat-0.1.0/edgechat
      edgechat bench --history          search and start with 200,000 messages
      edgechat bench --long             a chat of 2,000 messages, a reply of 50,000 tokens
      edgechat bench --scoring          predict against the plain loop, a batch against single calls
      edgechat bench --turns            the 20th turn against the 2nd, another reply, back to a chat
    """
    config = load_config(model_uri=model_uri or (ctx.obj or {}).get("model_uri"))
    if packaged is not None:
        from edgechat.bench.packaged import measure as measure_packaged

        single = not (packaged.parent / "_internal").is_dir()
        result = asyncio.run(measure_packaged(str(packaged.absolute()), config, rounds, tokens, single=single))
    elif of_history:
        from edgechat.bench.history import measure as measure_history

        result = asyncio.run(measure_history(config, rounds, tui=tui and os.name == "posix"))
    elif of_long:
        from edgechat.bench.long import measure as measure_long

        result = asyncio.run(measure_long(rounds))
    elif scoring:
        from edgechat.bench.scoring import measure as measure_scoring

        result = asyncio.run(measure_scoring(config, rounds, tokens))
    elif turns:
        from edgechat.bench.turns import measure as measure_turns

        result = asyncio.run(measure_turns(config, rounds))
    else:
        from edgechat.bench.chat import measure as measure_chat

        result = asyncio.run(measure_chat(config, rounds, tokens, tui=tui and os.name == "posix"))
    click.echo(json.dumps(result, indent=2) if as_json else table(result))
