"""Records an entry point's measurements in a run on an MLflow server.

`mlflow run` creates the run before it starts an entry point and ends it afterwards; when started by hand, an entry
point creates its own. Nothing is logged until everything has been measured.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgechat.registry.client import connect, server_uri, translate_errors
from edgechat.registry.push import in_run


@dataclass(frozen=True, slots=True)
class Measured:
    """What is logged.

    Attributes:
        name: Name for a new run.
        parameters: What was measured, by name.
        metrics: The results.
        texts: Text files by their path in the run.
        tables: Tables by their path in the run, as columns by name; MLflow shows those of several runs side by side.
    """

    name: str
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    texts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Sequence[object]]] = field(default_factory=dict)


def add_destination(parser: argparse.ArgumentParser) -> None:
    """Add the options for the destination."""
    parser.add_argument("--tracking-uri", metavar="URI", help="the MLflow server; MLFLOW_TRACKING_URI if left out")
    parser.add_argument("--experiment", metavar="NAME", help="where a new run goes; edgechat if left out")


def record(measured: Measured, tracking_uri: str | None, experiment: str | None) -> str:
    """Log to the run in MLFLOW_RUN_ID, or to a new one.

    Args:
        measured: What to log.
        tracking_uri: The server or store; None is MLFLOW_TRACKING_URI.
        experiment: The experiment of a new run.

    Returns:
        The run's id.

    Raises:
        RegistryError: The server cannot be reached or refuses; a new run is marked as failed.
    """
    server = server_uri(tracking_uri)
    client = connect(server)
    options = os.environ.get("MLFLOW_RUN_ID")
    with translate_errors(server), in_run(client, server, experiment, measured.name, options) as run_id:
        for name, value in measured.parameters.items():
            client.log_param(run_id, name, value)
        for name, amount in measured.metrics.items():
            client.log_metric(run_id, name, amount)
        for path, text in measured.texts.items():
            client.log_text(run_id, text, path)
        for path, columns in measured.tables.items():
            client.log_table(run_id, {name: list(values) for name, values in columns.items()}, path)
    return run_id
