"""Communicates with MLflow servers: connecting, time limits, and readable errors.

Servers are identified by their URI; MLflow's global settings and its default store in the working directory are left
alone. Waiting is always limited. A server over HTTP only needs mlflow-skinny; a database needs the whole of MLflow.
Responses are untrusted and sanitised before they are shown. Nothing here transfers a model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.errors import ConfigError, EdgechatError, RegistryError
from edgechat.flavor.save import mlflow_is_missing
from edgechat.i18n.sentence import Sentence
from edgechat.models.registry_uri import plain_server, scheme_of, without_credentials
from edgechat.models.sanitize import shown
from edgechat.runtime.extras import install_command
from edgechat.runtime.opt_outs import OPT_OUTS

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "30",
}
"""MLflow's defaults are two minutes for each of eight attempts, and more for traces. A user's values win."""

_SILENCE = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""Keeps it from printing the address of each finished run on standard output."""

_KNOCK_SECONDS = 10
"""Seconds a server has for its first response."""

NOT_THERE = "Not on the server"
"""Title of the error for something the server does not have."""

_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")
_PARTS_OF_MLFLOW = frozenset({"sqlalchemy", "alembic", "pandas", "flask"})

_TRY_AGAIN = "Check the address, the network and that the server runs; models that were pulled work without it."
_SERVER_LOG = "The server's own log may say why."
_NAME_A_SERVER = "--tracking-uri http://HOST:5000"


def connect(tracking_uri: str | None) -> MlflowClient:
    """Create a client for a tracking server or store, without changing MLflow's default store.

    Args:
        tracking_uri: `http(s)://...`, `sqlite:////...` or another form MLflow supports; defaults to
            MLFLOW_TRACKING_URI.

    Raises:
        RegistryError: No server is named, it does not answer in time, is not an MLflow server, or requires credentials.
    """
    uri = server_uri(tracking_uri)
    _configure_mlflow()
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise mlflow_is_missing() from error
    with translate_errors(uri):
        if scheme_of(uri) in {"http", "https"}:
            _probe(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def server_uri(tracking_uri: str | None) -> str:
    """Return the given URI, or MLFLOW_TRACKING_URI. Raises RegistryError if neither names a server."""
    uri = (tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "").strip()
    if not uri:
        raise RegistryError(
            "No MLflow server named",
            "Neither --tracking-uri nor MLFLOW_TRACKING_URI says where to ask.",
            Sentence("Add {name_a_server}", name_a_server=_NAME_A_SERVER),
        )
    return uri


def require_existing(uri: str) -> None:
    """Refuse a missing store on this device, which MLflow would create. Raises RegistryError."""
    scheme, _, rest = uri.partition(":")
    if scheme == "sqlite":
        path = rest.removeprefix("///").partition("?")[0]
    elif scheme == "file":
        path = rest.removeprefix("//")
    elif not scheme_of(uri) and not uri.startswith("databricks"):  # a profile's name; all other servers have one
        path = uri
    else:
        return
    if not Path(path).exists():
        raise RegistryError(
            "No such store",
            Sentence("{plain_server} does not exist.", plain_server=plain_server(uri)),
            "Check how it is written; the address of a server begins with http:// or https://.",
        )


def _configure_mlflow() -> None:
    for name, value in OPT_OUTS.items():
        if name.startswith("MLFLOW_"):
            os.environ[name] = value
    for name, value in (_PATIENCE | _SILENCE).items():
        os.environ.setdefault(name, value)


def _probe(uri: str) -> None:
    """Make a small request that only an MLflow server answers. Raises RegistryError, or what MLflow raises."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    timeout = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    if not timeout.isdecimal():
        raise ConfigError(
            "MLFLOW_HTTP_REQUEST_TIMEOUT",
            Sentence("{timeout} is no number of seconds.", timeout=shown(timeout)),
            "Take it away.",
        )
    answer = http_request(
        get_default_host_creds(uri.rstrip("/")),
        "/api/2.0/mlflow/experiments/search",
        "POST",
        json={"max_results": 1},
        timeout=min(_KNOCK_SECONDS, int(timeout)),
        max_retries=0,
        raise_on_status=False,
    )
    server = plain_server(uri)
    if answer.status_code in {401, 403}:
        raise RegistryError(
            "MLflow server refuses",
            Sentence(
                "{server} wants to know who asks (HTTP {status_code}).", server=server, status_code=answer.status_code
            ),
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
        )
    try:
        known = answer.status_code == 200 and isinstance(answer.json(), dict)
    except ValueError:
        known = False
    if not known:
        raise RegistryError(
            "Not an MLflow server",
            Sentence(
                "{server} answers, but not as an MLflow server does (HTTP {status_code}).",
                server=server,
                status_code=answer.status_code,
            ),
            "Check the address and the port; behind a proxy the path belongs to it.",
        )


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn exceptions of MLflow and its libraries in the block into a RegistryError about that server."""
    import requests
    from mlflow.exceptions import MlflowException

    server = plain_server(uri)
    try:
        with _override_default_store(uri) if scheme_of(uri) in {"file", ""} else nullcontext():
            yield
    except (MlflowException, requests.RequestException) as error:
        raise _failure(error, server) from error
    except ImportError as error:  # sqlalchemy for a database, boto3 for S3, ...
        raise _missing_package(error.name or "it cannot load", server) from error
    except (EdgechatError, OSError):  # already readable, or about a file on this device
        raise
    except Exception as error:  # an unexpected response, a damaged database: each library has its own exceptions
        text = shown(without_credentials(f"{type(error).__name__}: {error}"), 300)
        raise RegistryError(
            "MLflow failed",
            Sentence("{server}: {text}", server=server, text=text),
            "Check that it is a working MLflow server.",
        ) from error


@contextmanager
def _override_default_store(uri: str) -> Iterator[None]:
    """Name a store for the block if none is set: MLflow's file store asks the default one about its models.

    That would create the default one, such as a database in the working directory.
    """
    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    os.environ[name] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _failure(error: Exception, server: str) -> RegistryError:
    text = without_credentials(str(error))
    code = str(getattr(error, "error_code", ""))
    status = getattr(getattr(error, "response", None), "status_code", None)
    # MLflow reports an unknown alias as an invalid parameter.
    if code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"} or (code and "alias" in text and "not found" in text):
        message = shown(text.removeprefix(f"{code}: ").rstrip("."), 300)
        return RegistryError(
            NOT_THERE,
            Sentence("{server}: {message}.", server=server, message=message),
            "Look at the server's own pages for the name.",
        )
    if "MLFLOW_ALLOW_FILE_STORE" in text:
        return RegistryError(
            "MLflow takes no folders any more",
            Sentence("{server} is a store of plain files, which MLflow no longer supports.", server=server),
            "Move it to a database with `mlflow migrate-filestore`, or set MLFLOW_ALLOW_FILE_STORE=true.",
        )
    if "unsupported URI" in text and server.startswith(_DATABASES):
        return _missing_package("sqlalchemy", server)
    if isinstance(error, OSError) or "failed with exception" in text:
        if "timed out" in text:
            return RegistryError(
                "MLflow server does not answer", Sentence("{server} took too long.", server=server), _TRY_AGAIN
            )
        if "SSL" in text:
            return RegistryError(
                "MLflow server cannot be reached",
                Sentence("{server} and this device agree on no encrypted connection.", server=server),
                "Is it http:// or https://? MLFLOW_TRACKING_SERVER_CERT_PATH names a certificate of your own.",
            )
        if status is None:
            return RegistryError(
                "MLflow server cannot be reached", Sentence("{server} gives no connection.", server=server), _TRY_AGAIN
            )
    hint = "Correct what is named and try again." if code == "INVALID_PARAMETER_VALUE" else _SERVER_LOG
    return RegistryError("MLflow refuses", Sentence("{server}: {text}", server=server, text=shown(text, 300)), hint)


def _missing_package(package: str, server: str) -> RegistryError:
    if package in _PARTS_OF_MLFLOW:
        return RegistryError(
            "The whole of MLflow is needed",
            Sentence("{server} is a database, which the small MLflow that edgechat brings cannot open.", server=server),
            Sentence(
                "{install_command}, or use a server: {name_a_server}",
                install_command=install_command("mlflow"),
                name_a_server=_NAME_A_SERVER,
            ),
        )
    return RegistryError(
        "A package is missing",
        Sentence("{server} needs the Python package {package}.", server=server, package=shown(package)),
        "Install it.",
    )


class Artifacts:
    """A folder of artifacts on a server; implements `resumable_download.Remote`."""

    def __init__(self, location: str, server: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.location = plain_server(location)
        """Its URI, without credentials."""
        self._server = server
        with translate_errors(server):
            self._repository = get_artifact_repository(location, tracking_uri=server, registry_uri=server)

    def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """Yield the entries of a folder below it, "" for itself: paths with sizes in bytes, or None for a folder."""
        with translate_errors(self._server):
            found = self._repository.list_artifacts(folder or None)
        for entry in found:
            # JSON from a server omits zeros: an empty file has no size.
            yield entry.path, None if entry.is_dir else int(entry.file_size or 0)

    def fetch(self, path: str, goal: Path) -> None:
        """Download a file to a path. Raises RegistryError, or OSError if it cannot be written."""
        with translate_errors(self._server):
            # The primitive common to all of MLflow's repositories; its public methods download a whole folder at once.
            self._repository._download_file(path, str(goal))

    def send(self, file: Path, folder: str) -> None:
        """Upload a file to a folder below it, "" for itself."""
        with translate_errors(self._server):
            self._repository.log_artifact(str(file), folder or None)
