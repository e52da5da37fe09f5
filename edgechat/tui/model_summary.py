"""What is told of a model before and beside talking to it: read from its folder, never from the engine.

Everything here touches the disk: it is for a thread, after the first paint.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.errors import EdgechatError


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as the empty screen tells of it.

    Attributes:
        name: Its name.
        size: Bytes of all its files.
        licence: Name of its licence; empty where nobody told.
        weights: How its weights are stored; empty where nobody told.
    """

    name: str
    size: int
    licence: str = ""
    weights: str = ""


def find(uri: str | None) -> ModelFacts | None:
    """The facts of the model that a URI means; None where there is none yet, or it cannot be opened.

    Args:
        uri: A name, a folder or a URI; None is the default model.
    """
    from edgechat.models.default import default_model
    from edgechat.models.store import ModelStore
    from edgechat.models.uri import resolve_model

    try:
        model = default_model(ModelStore()) if uri is None else resolve_model(uri)
    except EdgechatError:  # loading it tells
        return None
    return ModelFacts(model.name, model.size_bytes, model.licence, model.quantisation)


def installed(name: str) -> bool:
    """Whether a chat that was held with a model of that name can be held with it here."""
    from edgechat.models.store import ModelStore

    try:
        return ModelStore().has(name)
    except EdgechatError:
        return False
