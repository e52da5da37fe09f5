"""What an entry point of the project measured, put into a run on an MLflow server.

`mlflow run` makes the run before it starts an entry point and ends it afterwards; started by hand, an entry point makes
one of its own. Nothing is logged before everything is measured.
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
        name: The name of a run that is made for it.
        parameters: What was measured, by name.
        metrics: How it came out.
        texts: Files of text, by their path in the run.
        tables: Tables by their path in the run, which MLflow shows side by side for several runs: columns by name.
    """

    name: str
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    texts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Sequence[object]]] = field(default_factory=dict)


def add_destination(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a run goes."""
    parser.add_argument("--tracking-uri", metavar="URI", help="the MLflow server; MLFLOW_TRACKING_URI if left out")
    parser.add_argument("--experiment", metavar="NAME", help="where a new run goes; edgechat if left out")


def record(measured: Measured, tracking_uri: str | None, experiment: str | None) -> str:
    """Log it to the run in MLFLOW_RUN_ID, or to a new one.

    Args:
        measured: What to log.
        tracking_uri: The server or store; None is MLFLOW_TRACKING_URI.
        experiment: Where a new run goes.

    Returns:
        The run's id.

    Raises:
        RegistryError: The server cannot be reached or refuses; a new run is marked as failed then.
    """
    server = server_uri(tracking_uri)
    client = connect(server)
    given = os.environ.get("MLFLOW_RUN_ID")
    with translate_errors(server), in_run(client, server, experiment, measured.name, given) as run_id:
        for name, value in measured.parameters.items():
            client.log_param(run_id, name, value)
        for name, amount in measured.metrics.items():
            client.log_metric(run_id, name, amount)
        for path, text in measured.texts.items():
            client.log_text(run_id, text, path)
        for path, columns in measured.tables.items():
            client.log_table(run_id, {name: list(values) for name, values in columns.items()}, path)
    return run_id
