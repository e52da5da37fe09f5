"""Going on with another model in the middle of a chat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgechat.engine.protocol import Engine, ModelInfo, ProgressCallback
from edgechat.errors import EngineError
from edgechat.runtime.logs import log
from edgechat.session.activity import Activity
from edgechat.session.cancellation import run_to_completion
from edgechat.session.current_model import CurrentModel
from edgechat.session.prompt_warmer import PromptWarmer
from edgechat.session.setting_locks import SettingLocks


class ModelSwitcher:
    """Replaces the engine of the current model by that of another one.

    There is an engine at all times: where the other model cannot be loaded, one of the model before takes its place
    again.
    """

    def __init__(
        self,
        model: CurrentModel,
        activity: Activity,
        locks: SettingLocks,
        warmer: PromptWarmer,
        engine_of: Callable[[str | None], Engine] | None,
    ) -> None:
        """Nothing is switched yet.

        Args:
            model: Has the engine that is replaced.
            activity: Refuses to switch while a reply is written, and replies while switching.
            locks: May lock `model_uri`.
            warmer: Uses the engine as well: stopped before, and started again after a switch.
            engine_of: Makes the engine of a model, or of the default one (None); without it, there is no other model.
        """
        self._model = model
        self._activity = activity
        self._locks = locks
        self._warmer = warmer
        self._engine_of = engine_of
        self._switching: asyncio.Task[object] | None = None

    @property
    def uri(self) -> str | None:
        """The model in use, as it was asked for; None is the default one."""
        return self._model.uri

    def check(self, uri: str | None) -> None:
        """Refuse another model where `switch` would, before anything is looked at or let go.

        Raises:
            ConfigError: The device decides which model is used.
            EngineError: A reply is running, or there is no other model.
        """
        self._maker(uri)

    def _maker(self, uri: str | None) -> Callable[[str | None], Engine]:
        self._activity.refuse_while_busy()
        if uri != self._model.uri:
            self._locks.refuse("model_uri")
        if self._engine_of is None:
            raise EngineError("There is no other model", "This chat is held with the one engine it was begun with.")
        return self._engine_of

    async def switch(self, uri: str | None, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Go on with another model; the chat stays as it is.

        The model before is ended first, for both may not fit into memory. Where the other one cannot be loaded, or the
        caller is cancelled, the one before is in its place again, to be loaded with `start` or the next message.

        Args:
            uri: The model: a name, a folder or a URI; None is the default one.
            on_progress: Called in the event loop as loading goes on.

        Raises:
            ConfigError: The device decides which model is used.
            EngineError: A reply is running, or loading failed.
            ModelError: It cannot be used.
        """
        engine_of, before = self._maker(uri), self._model.uri
        self._activity.begin("switch")
        self._switching = asyncio.current_task()
        self._warmer.cancel()
        try:
            await self._model.engine.aclose()
            self._model.engine, self._model.uri = engine_of(uri), uri
            info = await self._model.engine.start(on_progress)
        except BaseException as error:
            log.warning("switching to another model ended with %s", type(error).__name__)
            try:
                await run_to_completion(self._model.engine.aclose())
            finally:  # cancelled once more or not, there is an engine afterwards
                self._model.engine, self._model.uri = engine_of(before), before
            raise
        finally:
            self._switching = None
            self._activity.end()
        self._warmer.warm()
        return info

    def cancel(self) -> bool:
        """Give up a switch under way, for the model before. Returns whether there is one."""
        if self._switching is None:
            return False
        self._switching.cancel()
        return True
