"""Records a packaged model on an MLflow server: its properties, speed, card, and the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgechat import __version__
from edgechat.bench.measure import Speed
from edgechat.models.folder import ModelFolder
from edgechat.registry.client import connect, server_uri, translate_errors
from edgechat.registry.push import Pushed, in_run, push

if TYPE_CHECKING:
    from edgechat.runtime.progress import ByteCallback

CARD = "model_card.md"
"""File name of the card among the run's artifacts."""

_PARAMETERS = ("parameters", "source", "source_name", "source_sha256")
"""Metadata keys that are recorded besides the fields of `ModelFolder`."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to record.

    Attributes:
        tracking_uri: The server; None is MLFLOW_TRACKING_URI.
        experiment: The experiment; None is MLFLOW_EXPERIMENT_NAME, else "edgechat".
        register: The registered model to add a version to; None for none.
        alias: An alias to point to the new version.
    """

    tracking_uri: str | None = None
    experiment: str | None = None
    register: str | None = None
    alias: str | None = None


def record(
    model: ModelFolder, speed: Speed, card: str, to: Destination, *, on_progress: ByteCallback | None = None
) -> Pushed:
    """Log a run with parameters, metrics, the card and the model, and optionally register the model.

    Args:
        model: A packaged model.
        speed: Its measured speed.
        card: Its card, in Markdown.
        to: The destination.
        on_progress: Called with the bytes sent and the total.

    Raises:
        RegistryError: The server cannot be reached or refuses; the run is marked as failed.
    """
    server = server_uri(to.tracking_uri)
    client = connect(server)
    with translate_errors(server), in_run(client, server, to.experiment, to.register or model.name) as run_id:
        for name, value in _parameters(model, speed).items():
            client.log_param(run_id, name, value)
        for name, amount in _metrics(model, speed).items():
            client.log_metric(run_id, name, amount)
        client.log_text(run_id, card, CARD)
        return push(
            model.root,
            register=to.register,
            alias=to.alias,
            tracking_uri=server,
            run_id=run_id,
            on_progress=on_progress,
        )


def _parameters(model: ModelFolder, speed: Speed) -> dict[str, str]:
    metadata = model.mlflow.metadata if model.mlflow is not None else {}
    known: dict[str, object] = {
        "architecture": model.architecture,
        "quantisation": model.quantisation,
        "licence": model.licence,
        "context_length": model.context_length,
        "size_bytes": model.size_bytes,
        **{name: metadata.get(name) for name in _PARAMETERS},
        "edgechat": __version__,
        "bench_threads": speed.threads,
        "bench_context": speed.context,
        "bench_prompt_tokens": speed.prompt_tokens,
    }
    return {name: str(value) for name, value in known.items() if value not in (None, "")}


def _metrics(model: ModelFolder, speed: Speed) -> dict[str, float]:
    measurements = msgspec.structs.asdict(speed)
    names = (
        "load_seconds",
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "ttft_seconds",
        "peak_memory_bytes",
    )
    return {
        **{name: float(measurements[name]) for name in names if measurements[name]},
        "size_bytes": float(model.size_bytes),
    }
