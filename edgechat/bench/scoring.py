"""`edgechat bench --scoring`: compares `mlflow.pyfunc` with the plain loop, and batches with single calls."""

from __future__ import annotations

import importlib.util
from typing import Any

from edgechat.bench.processes import PROMPT, Child, RawLoop, prompt_ids
from edgechat.bench.report import figure, say, speed
from edgechat.engine import resources
from edgechat.errors import ConfigError, ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths
from edgechat.runtime.extras import install_command
from edgechat.session.factory import locate
from edgechat.settings.schema import Config

CONTEXT = 2048
_TOPICS = ("lighthouse", "mill", "bridge", "harbour", "forest", "mountain", "village", "desert")
_GREEDY = {"temperature": 0, "repetition_penalty": 1}


async def measure(config: Config, rounds: int, tokens: int) -> dict[str, Any]:
    """Measure how fast `predict` decodes, and what a batch of eight saves.

    Args:
        config: The settings, for their model.
        rounds: Pairs to measure.
        tokens: Tokens per reply; a quarter of that in a batch.

    Returns:
        The output of `edgechat bench --json`.

    Raises:
        ConfigError: The full MLflow package is not installed.
        ModelError: The model is not an MLflow model saved by edgechat.
    """
    if importlib.util.find_spec("pandas") is None:
        raise ConfigError("MLflow is needed", "mlflow.pyfunc is not installed.", install_command("mlflow"))
    source = await locate(config.model_uri)(lambda progress: None)
    if not (source.folder.parent / "MLmodel").is_file():
        raise ModelError(
            "Not an MLflow model",
            Sentence("{folder} has no MLmodel beside it.", folder=source.folder),
            "Try `edgechat package`.",
        )
    prompt = await prompt_ids(source)
    # Called once beforehand, so that the prompt is cached in measured calls; the time for a single token, which is
    # MLflow's overhead, does not count as decoding.
    messages = [{"role": "user", "content": PROMPT}]
    chat = {"input": {"messages": messages}, "params": {"max_tokens": tokens, **_GREEDY}}
    single = {"input": {"messages": messages}, "params": {"max_tokens": 1, **_GREEDY}}
    shared = {"max_tokens": max(8, tokens // 4), **_GREEDY}
    prompts = [f"Write a very long story about a {topic}, with many chapters." for topic in _TOPICS]
    together = [{"input": {"prompt": prompts}, "params": shared}]
    apart = [{"input": {"prompt": text}, "params": shared} for text in prompts]
    decodes: list[tuple[float, float]] = []
    batches: list[tuple[float, float]] = []
    settings = {"threads": resources.threads(), "context": CONTEXT}
    for number in range(rounds):
        say(f"scoring, {number + 1} of {rounds}")
        scoring = await Child.start(
            paths.own_command("_bench-scoring"), {"model": str(source.folder.parent), **settings}
        )
        raw = await RawLoop.load(source.folder, resources.threads(), CONTEXT)
        try:
            await scoring.ask({"calls": [chat, *together]})
            await raw.reply(prompt, tokens)
            await scoring.ask({"calls": [chat]})
            for _ in range(2):
                before = (await scoring.ask({"calls": [single]}))["seconds"]
                result = await scoring.ask({"calls": [chat]})
                decodes.append((speed(result["tokens"], result["seconds"] - before), await raw.reply(prompt, tokens)))
            for _ in range(2):
                once = await scoring.ask({"calls": together})
                batches.append((once["seconds"], (await scoring.ask({"calls": apart}))["seconds"]))
        finally:
            await scoring.aclose()
            await raw.aclose()
    return {
        "model": source.name,
        "context": CONTEXT,
        "threads": resources.threads(),
        "rounds": rounds,
        "tokens": tokens,
        "figures": {
            "predict_decode": figure(decodes, "tokens/s", at_least=0.95),
            "predict_batch": figure(batches, "seconds", at_most=0.99),
        },
    }
