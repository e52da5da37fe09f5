"""`edgechat bench --packaged BINARY`: compares a packaged edgechat with this one, alternating in one run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from edgechat.bench.processes import RawLoop, in_terminal, prompt_ids
from edgechat.bench.report import figure, say
from edgechat.engine import resources
from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.session.factory import locate
from edgechat.settings.schema import Config

CONTEXT = 2048


async def measure(program: str, config: Config, rounds: int, tokens: int, *, single: bool) -> dict[str, Any]:
    """Measure the time to first paint and the decode speed.

    Args:
        program: The packaged program: the one in the folder, or the single file, which unpacks itself first.
        config: The settings, for the model that both use.
        rounds: Pairs to measure.
        tokens: Tokens per reply.
        single: Whether it is a single file, which may take a little longer.

    Returns:
        The output of `edgechat bench --json`.

    Raises:
        ConfigError: There is no such program, or it does not start.
    """
    source = await locate(config.model_uri)(lambda progress: None)
    prompt = await prompt_ids(source)
    try:
        # Have a single file unpack itself now rather than in the first pair.
        process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.DEVNULL)
    except OSError as error:
        raise ConfigError(
            "Not a program", Sentence("{program}: {strerror}.", program=program, strerror=error.strerror or error)
        ) from error
    if await process.wait():
        raise ConfigError(
            "Not a packaged edgechat",
            Sentence("{program} ended with exit code {returncode}.", program=program, returncode=process.returncode),
        )
    paints: list[tuple[float, float]] = []
    decodes: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        history = Path(folder) / "history.db"
        for number in range(rounds + 1):
            say(f"first paint, {number + 1} of {rounds + 1}")
            pair = []
            for command in ([program], paths.own_command()):
                began = time.monotonic()
                result = await in_terminal(config.model_uri, None, None, history, command=command)
                pair.append(result["painted"] - began)
            paints.append((pair[0], pair[1]))
    for number in range(rounds):
        say(f"decoding, {number + 1} of {rounds}")
        ours = await RawLoop.load(source.folder, resources.threads(), CONTEXT, command=[program])
        theirs = await RawLoop.load(source.folder, resources.threads(), CONTEXT)
        try:
            for loop in (ours, theirs):
                await loop.reply(prompt, tokens)
            decodes += [(await ours.reply(prompt, tokens), await theirs.reply(prompt, tokens)) for _ in range(2)]
        finally:
            await ours.aclose()
            await theirs.aclose()
    figures = {
        "packaged_paint": figure(paints[1:], "seconds", at_most=1.3 if single else 1.2),
        "packaged_decode": figure(decodes, "tokens/s", at_least=0.98),
    }
    return {
        "model": source.name,
        "context": CONTEXT,
        "threads": resources.threads(),
        "rounds": rounds,
        "tokens": tokens,
        "packaged": program,
        "figures": figures,
    }
