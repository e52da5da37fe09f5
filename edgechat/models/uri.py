"""From what a user calls a model to the folder it is in.

One rule decides between a path and a name: what looks like a path is a path; anything else is first a name in the
store. Nothing is ever fetched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgechat.errors import ModelError
from edgechat.models.default import default_model
from edgechat.models.mlmodel import ModelFolder, open_model
from edgechat.models.store import ModelStore, unknown_name
from edgechat.models.words import shown

# One letter and a colon is a drive of Windows, not a scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_PATH_LIKE = re.compile(r"[./\\~]|[A-Za-z]:|.*[/\\]", re.DOTALL)
_REGISTRY = frozenset(
    {"models", "runs", "http", "https", "mlflow-artifacts", "dbfs", "s3", "gs", "wasbs", "abfss", "hf"}
)


def resolve_model(uri: str | None, *, store: ModelStore | None = None, trust: bool = False) -> ModelFolder:
    """Open the model that a URI, a path or a name means.

    Args:
        uri: A name in the store; a path (absolute, beginning with `.` or `~`, or with a separator in it), a `file:`
            URI, or the name of a folder in the working directory that is no name in the store. None takes the default
            model, or the only one installed.
        store: Where to look for names; the user's own when left out.
        trust: Accept a model given by its path that loads native code.

    Raises:
        ModelError: Nothing there, no usable model, several to choose from, or a registry URI.
    """
    store = store if store is not None else ModelStore()
    if uri is None:
        return default_model(store)
    if not uri.strip() or "\0" in uri:
        raise ModelError("No model named", "The model URI is empty.", "Give a name or a folder.")
    scheme = _SCHEME.match(uri)
    if scheme is not None and scheme[1].lower() == "file":
        return open_model(_file_uri(uri), trust=trust)
    if scheme is not None and scheme[1].lower() in _REGISTRY:
        raise ModelError(
            "Model registries are not supported yet",
            f"{shown(uri)} is in a registry or on a network; those come with a later version.",
            "Pull it with MLflow, and give the folder it was pulled to as a path.",
        )
    if _PATH_LIKE.match(uri):
        if scheme is not None and "://" in uri:
            raise ModelError(
                "Model URI not understood", f"edgechat knows no {shown(scheme[0])} URIs.", "Give a name or a folder."
            )
        return open_model(Path(uri), trust=trust)
    if store.has(uri):
        return store.get(uri)
    if Path(uri).exists():
        return open_model(Path(uri), trust=trust)
    raise unknown_name(uri, store.names())


def _file_uri(uri: str) -> Path:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise ModelError(
            "Model URI not understood",
            f"{shown(uri)} does not name a folder of this device.",
            "A file URI has three slashes and an absolute path: file:///home/me/model",
        )
    # Windows writes file:///C:/models; the slash before the drive is the URI's, not the path's.
    return Path(path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path)
