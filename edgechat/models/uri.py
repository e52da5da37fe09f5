"""Resolves what a user calls a model to its folder.

What looks like a path is a path; anything else is first looked up as a name in the store. Models pulled from a registry
are found in the store by their URI. Nothing is ever downloaded, and no server is contacted.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.default import default_model
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.names import unknown_name
from edgechat.models.origin import Origin, describe_resolution
from edgechat.models.registry_uri import SCHEMES, Reference, parse_reference, scheme_of
from edgechat.models.sanitize import shown
from edgechat.models.store import ModelStore

_PATH_LIKE = re.compile(r"[./\\~]|[A-Za-z]:|.*[/\\]", re.DOTALL)
_ELSEWHERE = frozenset({"dbfs", "s3", "gs", "wasbs", "abfss", "hf"})


def resolve_model(uri: str | None, *, store: ModelStore | None = None, trust: bool = False) -> ModelFolder:
    """Open the model that a URI, a path or a name refers to.

    Args:
        uri: A name in the store; a path (absolute, starting with `.` or `~`, or containing a separator), a `file:` URI,
            or the name of a folder in the working directory that is not in the store; a URI by which a model was
            pulled. None means the default model, or the only one installed.
        store: Where to look up names; defaults to the user's store.
        trust: Accept a model that loads native code, if it is given by its path.

    Raises:
        ModelError: Nothing is there, it is not a usable model, there are several to choose from, or it is a registry's
            model that was not pulled.
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
            Sentence("{uri} is on a network, and edgechat pulls from MLflow servers alone.", uri=shown(uri)),
            "Copy it to this device, and give the folder as a path.",
        )
    if _PATH_LIKE.match(uri):
        if scheme and "://" in uri:
            raise ModelError(
                "Model URI not understood",
                Sentence("edgechat knows no {scheme}: URIs.", scheme=shown(scheme)),
                "Give a name or a folder.",
            )
        return open_model(Path(uri), trust=trust)
    if store.has(uri):
        return store.get(uri)
    if Path(uri).exists():
        return open_model(Path(uri), trust=trust)
    raise unknown_name(uri, store.names())


def pulled_notice(uri: str | None, *, store: ModelStore | None = None) -> str:
    """Return a sentence about which version a registry URI refers to here and since when; "" for any other URI.

    Nothing is opened. A URI that cannot be resolved gives "" too; `resolve_model` explains why.
    """
    if uri is None or scheme_of(uri) not in SCHEMES:
        return ""
    try:
        reference = parse_reference(uri)
    except ModelError:
        return ""
    origin = (store if store is not None else ModelStore()).origins.find(reference)
    return describe_resolution(reference.uri, origin[1]) if origin is not None else ""


def _pulled(reference: Reference, store: ModelStore) -> ModelFolder:
    found = store.origins.find(reference)
    if found is not None:
        return store.get(found[0])
    others = [origin for origin in store.origins.all().values() if reference.name and origin.name == reference.name]
    raise ModelError(
        "Model is not on this device",
        Sentence(
            "{uri} is not here{value}",
            uri=shown(reference.uri),
            value=f"; {_describe_origins(others)} is." if others else ".",
        ),
        Sentence("While a network is there: edgechat models pull {quote}", quote=shlex.quote(shown(reference.uri))),
    )


def _describe_origins(origins: list[Origin]) -> str:
    return ", ".join(
        origin.what + (f" ({shown(', '.join(origin.aliases[:3]))})" if origin.aliases else "") for origin in origins[:5]
    )


def _file_uri(uri: str) -> Path:
    try:
        parts = urlsplit(uri)
    except ValueError:  # an unclosed bracket
        parts = urlsplit("file://?")
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise ModelError(
            "Model URI not understood",
            Sentence("{uri} does not name a folder of this device.", uri=shown(uri)),
            "A file URI has three slashes and an absolute path: file:///home/me/model",
        )
    # On Windows it is file:///C:/models; the slash before the drive belongs to the URI, not to the path.
    return Path(path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path)
