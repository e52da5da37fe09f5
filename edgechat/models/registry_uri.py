"""Parses URIs that refer to a model in an MLflow registry, a run or an artifact store.

This is purely syntactic: whether the model exists is checked elsewhere. Credentials in a URI are removed before it is
    shown
or stored. Nothing here may import mlflow or use a network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.safe_walk import escapes
from edgechat.models.sanitize import shown

SCHEMES = frozenset({"models", "runs", "mlflow-artifacts", "http", "https"})
"""URI schemes that can be pulled."""

FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest, models:/m-ID, runs:/RUN_ID/model"

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_MODEL_ID = re.compile(r"m-[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed URI. Of the fields after `uri`, only those its form contains are set.

    Attributes:
        uri: The URI in normal form, without credentials.
        name: The registered model.
        version: Its version, a number.
        alias: Its alias.
        latest: Whether it means the newest version.
        model_id: MLflow's id of a logged model.
        run_id: A run.
        path: Path of the artifact in the run.
    """

    uri: str
    name: str = ""
    version: str = ""
    alias: str = ""
    latest: bool = False
    model_id: str = ""
    run_id: str = ""
    path: str = ""


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case; "" if there is none. A single letter is a Windows drive, not a scheme."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)
    return found[1].lower() if found else ""


def without_credentials(text: str) -> str:
    """Remove user names and passwords from every URI in a text, as in `https://user:password@host`."""
    return _CREDENTIALS.sub("", text)


def plain_server(uri: str) -> str:
    """Return a tracking URI as displayed and stored: without credentials, query, fragment and trailing slash."""
    clean = without_credentials(uri.strip())
    if scheme_of(clean) in {"http", "https"}:
        try:
            parts = urlsplit(clean)
            clean = urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))
        except ValueError:
            pass
    return clean.partition("?")[0].rstrip("/")


def parse_reference(uri: str) -> Reference:
    """Parse a URI.

    Raises:
        ModelError: It is not one that can be pulled.
    """
    scheme, _, rest = uri.strip().partition(":")
    scheme = scheme.lower()
    if scheme not in SCHEMES or not rest or any(ord(letter) < 32 for letter in rest):
        raise _not_understood(uri, "it is no URI of a model on an MLflow server.")
    if scheme == "models":
        return _registered(uri, rest)
    if scheme == "runs":
        run_id, _, path = _local(uri, rest).partition("/")
        if not run_id or not path:
            raise _not_understood(uri, "the run or the path of the artifact in it is missing.")
        return Reference(f"runs:/{run_id}/{path}", run_id=run_id, path=path)
    clean = plain_server(f"{scheme}:{rest}")
    if not rest.strip("/") or escapes(_path_of(clean).lstrip("/")):
        raise _not_understood(uri, "its path leads nowhere.")
    return Reference(clean)


def _path_of(uri: str) -> str:
    """Return the path of a URI; an invalid one if it cannot be parsed."""
    try:
        return urlsplit(uri).path
    except ValueError:
        return ".."


def _registered(uri: str, rest: str) -> Reference:
    name, _, suffix = _local(uri, rest).partition("/")
    if suffix:
        if "/" in suffix or "@" in name:
            raise _not_understood(uri, "it has more parts than a name and a version.")
        if suffix.isascii() and suffix.isdecimal():
            version = str(int(suffix))
            return Reference(f"models:/{name}/{version}", name=name, version=version)
        if suffix.lower() == "latest":
            return Reference(f"models:/{name}/latest", name=name, latest=True)
        raise _not_understood(uri, f'"{shown(suffix, 40)}" is no version. MLflow gives stages up; name an alias.')
    if "@" in name:
        name, _, alias = name.rpartition("@")
        if not name or not alias:
            raise _not_understood(uri, "the name or the alias is missing.")
        return Reference(f"models:/{name}@{alias}", name=name, alias=alias)
    if _MODEL_ID.fullmatch(name):
        return Reference(f"models:/{name}", model_id=name)
    raise _not_understood(uri, "it names no version and no alias.")


def _local(uri: str, rest: str) -> str:
    """Return what follows `models:/` or `runs:/`."""
    path = rest.removeprefix("/").rstrip("/")
    if not rest.startswith("/") or path.startswith("/"):
        raise _not_understood(uri, "one slash belongs behind the colon. A server is named with --tracking-uri.")
    if not path.strip() or path != path.strip() or escapes(path) or any(part in {"", "."} for part in path.split("/")):
        raise _not_understood(uri, "a part of it is missing, or leads elsewhere.")
    return path


def _not_understood(uri: str, why: str) -> ModelError:
    return ModelError(
        "Model URI not understood",
        Sentence("{without_credentials}: {why}", without_credentials=shown(without_credentials(uri)), why=why),
        Sentence("Known are {forms}.", forms=FORMS),
    )
