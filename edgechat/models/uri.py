"""From what a user calls a model to the folder it is in.

One rule decides between a path and a name: what looks like a path is a path; anything else is first a name in the
store. What was pulled from a registry is found in the store by the URI it has there. Nothing is ever fetched, and
nobody is asked.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgechat.errors import ModelError
from edgechat.models.default import default_model
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.names import unknown_name
from edgechat.models.origin import Origin, told
from edgechat.models.registry_uri import SCHEMES, Reference, parse_reference, scheme_of
from edgechat.models.sanitize import shown
from edgechat.models.store import ModelStore

_PATH_LIKE = re.compile(r"[./\\~]|[A-Za-z]:|.*[/\\]", re.DOTALL)
_ELSEWHERE = frozenset({"dbfs", "s3", "gs", "wasbs", "abfss", "hf"})


def resolve_model(uri: str | None, *, store: ModelStore | None = None, trust: bool = False) -> ModelFolder:
    """Open the model that a URI, a path or a name means.

    Args:
        uri: A name in the store; a path (absolute, beginning with `.` or `~`, or with a separator in it), a `file:`
            URI, or the name of a folder in the working directory that is no name in the store; a URI by which a model
            was pulled. None takes the default model, or the only one installed.
        store: Where to look for names; the user's own when left out.
        trust: Accept a model given by its path that loads native code.

    Raises:
        ModelError: Nothing there, no usable model, several to choose from, or a registry's model that was not pulled.
    """
    store = store if store is not None else ModelStore()
    if uri is None:
        return default_model(store)
    if not uri.strip() or "\0" in uri:
        raise ModelError("No model named", "The model URI is empty.", "Give a name or a folder.")
    scheme = scheme_of(uri)
    if scheme == "file":
        return open_model(_file_uri(uri), trust=trust)
    if scheme in SCHEMES:
        return _pulled(parse_reference(uri), store)
    if scheme in _ELSEWHERE:
        raise ModelError(
            "Model is somewhere else",
            f"{shown(uri)} is on a network, and edgechat pulls from MLflow servers alone.",
            "Copy it to this device, and give the folder as a path.",
        )
    if _PATH_LIKE.match(uri):
        if scheme and "://" in uri:
            raise ModelError(
                "Model URI not understood", f"edgechat knows no {shown(scheme)}: URIs.", "Give a name or a folder."
            )
        return open_model(Path(uri), trust=trust)
    if store.has(uri):
        return store.get(uri)
    if Path(uri).exists():
        return open_model(Path(uri), trust=trust)
    raise unknown_name(uri, store.names())


def pulled_notice(uri: str | None, *, store: ModelStore | None = None) -> str:
    """The sentence on which version a registry's URI means here and since when; "" for any other URI.

    Nothing is opened. A URI that cannot be answered gives "" too: `resolve_model` says why.
    """
    if uri is None or scheme_of(uri) not in SCHEMES:
        return ""
    try:
        reference = parse_reference(uri)
    except ModelError:
        return ""
    origin = (store if store is not None else ModelStore()).origins.find(reference)
    return told(reference.uri, origin[1]) if origin is not None else ""


def _pulled(reference: Reference, store: ModelStore) -> ModelFolder:
    found = store.origins.find(reference)
    if found is not None:
        return store.get(found[0])
    others = [origin for origin in store.origins.all().values() if reference.name and origin.name == reference.name]
    raise ModelError(
        "Model is not on this device",
        f"{shown(reference.uri)} is not here" + (f"; {_told_of(others)} is." if others else "."),
        f"While a network is there: edgechat models pull {shlex.quote(shown(reference.uri))}",
    )


def _told_of(origins: list[Origin]) -> str:
    return ", ".join(
        origin.what + (f" ({shown(', '.join(origin.aliases[:3]))})" if origin.aliases else "") for origin in origins[:5]
    )


def _file_uri(uri: str) -> Path:
    try:
        parts = urlsplit(uri)
    except ValueError:  # a bracket that is not closed
        parts = urlsplit("file://?")
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise ModelError(
            "Model URI not understood",
            f"{shown(uri)} does not name a folder of this device.",
            "A file URI has three slashes and an absolute path: file:///home/me/model",
        )
    # Windows writes file:///C:/models; the slash before the drive is the URI's, not the path's.
    return Path(path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path)
