"""Code shared by the recipes: the command line, an MLflow store at an explicit location, and the output.

Without an absolute location, an MLflow store ends up in the working directory; recipes always give one.
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
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.extras import install_command
from edgechat.runtime.opt_outs import go_offline

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

EXPERIMENT = "edgechat"


@dataclass(frozen=True, slots=True)
class Store:
    """Where MLflow stores what a recipe logs.

    Attributes:
        tracking_uri: The server or database.
        artifacts: The folder for the runs' artifacts; None leaves it to a tracking server.
    """

    tracking_uri: str
    artifacts: Path | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """The result of logging.

    Attributes:
        uri: The model's URI in the store, for `mlflow.pyfunc.load_model`.
        folder: The model folder, for `edgechat --model-uri`; None if the store is on another machine.
        signature: The model's MLflow signature.
    """

    uri: str
    folder: Path | None
    signature: ModelSignature


Log = Callable[[Path, Store, str | None], Logged]
"""Logs a folder to a store, and optionally registers it under a name."""

Ask = Callable[[str], Any]
"""Asks a logged model something, given its URI."""


_EXTRAS = {"mlflow": ("pandas",), "transformers": ("torch", "transformers")}
"""A module that shows an extra is installed; the base install has a slimmer mlflow, without pandas."""


def need(*extras: str) -> None:
    """Raise ModelError naming the extras if a library belonging to one of them is missing."""
    missing = [name for extra in extras for name in _EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise ModelError(
            "The recipe needs more than is installed",
            Sentence("Not installed: {missing}.", missing=", ".join(missing)),
            install_command(*extras),
        )


def log_to(store: Store, log: Callable[[], ModelInfo]) -> Logged:
    """Call a function that logs a model, with MLflow set to the store.

    Raises:
        StorageError: MLflow cannot store it.
    """
    import mlflow

    try:
        mlflow.set_tracking_uri(store.tracking_uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            # Without its own location, a local store would put everything into the working directory.
            location = store.artifacts.resolve().as_uri() if store.artifacts is not None else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        mlflow.set_experiment(EXPERIMENT)
        with warnings.catch_warnings():
            # Suppress advice on how to write a wrapper, which does not concern someone running one.
            warnings.simplefilter("ignore")
            info = log()
        location = mlflow.get_logged_model(info.model_id).artifact_location
    except mlflow.exceptions.MlflowException as error:
        raise StorageError(
            "Model cannot be logged",
            Sentence("{tracking_uri}: {message}", tracking_uri=store.tracking_uri, message=error.message),
        ) from error
    parts = urlsplit(location)
    folder = Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None
    return Logged(info.model_uri, folder, info.signature)


def run(log: Log, ask: Ask, *, module: str, about: str, takes: str, arguments: Sequence[str] | None = None) -> int:
    """Log a folder named on the command line; print the signature, an answer, and how to chat with the model.

    Args:
        log: Logs it.
        ask: Asks it something.
        module: The recipe's module name.
        about: What it does.
        takes: Description of the folder.
        arguments: The command line; None for the process's own.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("folder", type=Path, help=takes)
    parser.add_argument("--out", type=Path, help="a folder for MLflow's store and what it holds")
    parser.add_argument("--tracking-uri", help="a tracking server or another store; in the folder --out if left out")
    parser.add_argument("--register", metavar="NAME", help="register the model under this name")
    options = parser.parse_args(arguments)
    server = (options.tracking_uri or "").startswith(("http:", "https:"))
    if options.out is None and not server:
        parser.error("give --out FOLDER, or the --tracking-uri of a tracking server")
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        uri = options.tracking_uri or f"sqlite:///{options.out.resolve()}/mlflow.db"
        logged = log(options.folder, Store(uri, None if server else options.out / "artifacts"), options.register)
        answer = ask(logged.uri)
    except OSError as error:
        return _failed(
            StorageError(
                "Model cannot be logged",
                Sentence("{filename}: {strerror}.", filename=error.filename, strerror=error.strerror),
            )
        )
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
    """Set up the environment of a recipe. Call before importing MLflow, which reads it once."""
    go_offline()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # report an unreachable server within seconds
