"""What the recipes have in common: their command line, a store that lies where it was asked for, and what they print.

An MLflow store without an absolute place lands in the working directory; a recipe names one always.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgechat.cli.main import report
from edgechat.errors import EdgechatError, ModelError, StorageError
from edgechat.runtime.extras import install_command
from edgechat.runtime.opt_outs import go_offline

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

EXPERIMENT = "edgechat"


@dataclass(frozen=True, slots=True)
class Store:
    """Where MLflow keeps what a recipe logs.

    Attributes:
        tracking_uri: The server or database.
        artifacts: The folder for what the runs hold; None leaves it to a tracking server.
    """

    tracking_uri: str
    artifacts: Path | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """What was logged.

    Attributes:
        uri: The model's URI in the store, for `mlflow.pyfunc.load_model`.
        folder: The model folder, for `edgechat --model-uri`; None where the store keeps it on another machine.
        signature: As MLflow has it.
    """

    uri: str
    folder: Path | None
    signature: ModelSignature


Log = Callable[[Path, Store, str | None], Logged]
"""Logs a folder to a store, and registers it under a name if there is one."""

Ask = Callable[[str], Any]
"""Asks a logged model something, by its URI."""


_EXTRAS = {"mlflow": ("pandas",), "transformers": ("torch", "transformers")}
"""What tells that an extra is installed; the base install has a slimmer mlflow, without pandas."""


def need(*extras: str) -> None:
    """Raise ModelError, naming the extras, if a library that belongs to one of them is missing."""
    missing = [name for extra in extras for name in _EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise ModelError(
            "The recipe needs more than is installed",
            f"Not installed: {', '.join(missing)}.",
            install_command(*extras),
        )


def log_to(store: Store, log: Callable[[], ModelInfo]) -> Logged:
    """Call what logs a model, with MLflow set to the store.

    Raises:
        StorageError: MLflow cannot keep it.
    """
    import mlflow

    try:
        mlflow.set_tracking_uri(store.tracking_uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            # Without a location of its own a local store would put everything into the working directory.
            location = store.artifacts.resolve().as_uri() if store.artifacts is not None else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        mlflow.set_experiment(EXPERIMENT)
        with warnings.catch_warnings():
            # Advice on how to write a wrapper is not for whoever runs one.
            warnings.simplefilter("ignore")
            info = log()
        location = mlflow.get_logged_model(info.model_id).artifact_location
    except mlflow.exceptions.MlflowException as error:
        raise StorageError("Model cannot be logged", f"{store.tracking_uri}: {error.message}") from error
    parts = urlsplit(location)
    folder = Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None
    return Logged(info.model_uri, folder, info.signature)


def run(log: Log, ask: Ask, *, module: str, about: str, takes: str, arguments: Sequence[str] | None = None) -> int:
    """Log a folder named on the command line; print the signature, an answer, and how to chat with the model.

    Args:
        log: Logs it.
        ask: Asks it something.
        module: How the recipe is called.
        about: What it does.
        takes: What the folder is.
        arguments: The command line; None for the process's own.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("folder", type=Path, help=takes)
    parser.add_argument("--out", type=Path, help="a folder for MLflow's store and what it holds")
    parser.add_argument("--tracking-uri", help="a tracking server or another store; in the folder --out if left out")
    parser.add_argument("--register", metavar="NAME", help="register the model under this name")
    given = parser.parse_args(arguments)
    server = (given.tracking_uri or "").startswith(("http:", "https:"))
    if given.out is None and not server:
        parser.error("give --out FOLDER, or the --tracking-uri of a tracking server")
    try:
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
        uri = given.tracking_uri or f"sqlite:///{given.out.resolve()}/mlflow.db"
        logged = log(given.folder, Store(uri, None if server else given.out / "artifacts"), given.register)
        answer = ask(logged.uri)
    except OSError as error:
        return _failed(StorageError("Model cannot be logged", f"{error.filename}: {error.strerror}."))
    except EdgechatError as error:
        return _failed(error)
    sys.stdout.write(f"{logged.signature}\n{json.dumps(answer, indent=2)}\n")
    if logged.folder is not None:
        sys.stderr.write(f"chat with it: edgechat --model-uri {logged.folder}\n")
    return 0


def _failed(error: EdgechatError) -> int:
    report(error)
    return int(error.exit_code)


def go_quietly() -> None:
    """Set the environment of a recipe. Call it before MLflow is imported, which looks at it once."""
    go_offline()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is told of in seconds
