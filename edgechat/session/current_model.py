"""The model that writes replies now."""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.engine.protocol import Engine, ModelInfo


@dataclass(slots=True)
class CurrentModel:
    """The engine in use. One object is shared by all parts of a session; only `ModelSwitcher` assigns to it.

    Attributes:
        engine: Writes the replies.
        uri: The model as it was asked for; None is the default one.
    """

    engine: Engine
    uri: str | None = None

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None until it is loaded."""
        return self.engine.info

    @property
    def name(self) -> str:
        """The loaded model's name; empty until it is loaded."""
        return self.engine.info.name if self.engine.info is not None else ""
