"""From settings to an engine and its sampling; the model is looked for when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edgechat.config import Config
from edgechat.engine.base import Progress, Sampling

if TYPE_CHECKING:
    from edgechat.engine.client import EngineClient, ModelSource


def sampling_of(config: Config) -> Sampling:
    """The sampling the settings ask for."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        repetition_penalty=config.repetition_penalty,
        seed=config.seed,
    )


def engine_for(config: Config) -> EngineClient:
    """The engine of the model the settings name; the model is looked for when it is first needed."""
    from edgechat.engine.client import EngineClient, EngineOptions

    return EngineClient(locate(config.model_uri), EngineOptions(context=config.context, threads=config.threads))


def locate(uri: str | None) -> Callable[[Callable[[Progress], None]], Awaitable[ModelSource]]:
    """What finds the model of that URI when it is needed, installing the default one if there is none yet."""

    async def find(on_progress: Callable[[Progress], None]) -> ModelSource:
        from edgechat.engine.client import ModelSource
        from edgechat.models.default import prepare
        from edgechat.models.manifest import ensure_intact
        from edgechat.models.store import ModelStore
        from edgechat.models.uri import resolve_model

        if uri is None and not ModelStore().list():
            model = await prepare(lambda done, total, note: on_progress(Progress("install", done, total, note)))
        else:
            model = await asyncio.to_thread(resolve_model, uri)
        await asyncio.to_thread(ensure_intact, model.root)
        return ModelSource(model.genai, model.name)

    return find
