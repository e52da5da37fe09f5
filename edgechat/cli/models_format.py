"""Formats the output of `edgechat models`: lines for people, and JSON.

Text from a model folder is shown without anything a terminal would interpret.
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgechat.models.folder import ModelFolder
    from edgechat.models.manifest import Check
    from edgechat.models.store import Entry

WIDTH = 80
_NAME_WIDTH = 36


def table(entries: tuple[Entry, ...], default: str) -> Iterable[str]:
    """Yield the lines of `edgechat models list`, for 80 columns."""
    from edgechat.models.origin import describe_resolution
    from edgechat.models.sanitize import shown, size_text

    width = max(4, min(_NAME_WIDTH, max(len(entry.name) for entry in entries)))
    yield f"  {'NAME':<{width}}  {'TYPE':<12} {'SIZE':>8}  {'CONTEXT':>7}  WEIGHTS"
    for entry in entries:
        name = ("* " if entry.name == default else "  ") + entry.name
        if len(entry.name) > width:  # never truncated, since it is copied; the rest goes on the next line
            yield name
            name = ""
        model = entry.model
        if model is None:
            room = WIDTH - width - 4
            yield f"{name:<{width + 2}}  {shown(f'cannot be opened: {entry.error}', room)}"
            continue
        context = str(model.context_length or "?")
        weights = shown(model.quantisation or "-", max(8, WIDTH - width - 36))
        kind, size = shown(model.architecture, 12), size_text(model.size_bytes)
        yield f"{name:<{width + 2}}  {kind:<12} {size:>8}  {context:>7}  {weights}"
        if model.origin is not None:
            yield from textwrap.wrap(
                describe_resolution(model.origin.uri, model.origin),
                WIDTH,
                initial_indent=" " * 4,
                subsequent_indent=" " * 4,
                break_on_hyphens=False,
                break_long_words=False,
            )


def verdict(result: dict[str, Any]) -> Iterable[str]:
    """Yield the lines of `edgechat models verify` for one model."""
    from edgechat.models.sanitize import shown

    if result["ok"]:
        yield f"{result['name']}: ok"
    if result["error"]:
        yield f"{result['name']}: {shown(result['error'], 300)}"
    for problem in result["problems"]:
        detail = f" ({shown(problem['detail'], 200)})" if problem["detail"] else ""
        yield f"{result['name']}: {problem['kind']}: {shown(problem['path'], 300)}{detail}"


def entry_json(entry: Entry, default: str) -> dict[str, Any]:
    """Return one installed model for `list --json`."""
    data: dict[str, Any] = {"name": entry.name, "default": entry.name == default, "folder": str(entry.path)}
    if entry.model is None:
        return {**data, "error": str(entry.error)}
    return {
        **data,
        "origin": _origin_json(entry.model),
        "architecture": entry.model.architecture,
        "size_bytes": entry.model.size_bytes,
        "context_length": entry.model.context_length,
        "quantisation": entry.model.quantisation,
        "licence": entry.model.licence,
    }


def card_json(model: ModelFolder, check: Check) -> dict[str, Any]:
    """Return a model for `show --json`."""
    card = model.mlflow
    return {
        "name": model.name,
        "folder": str(model.root),
        "genai_folder": str(model.genai),
        "source": model.source,
        "origin": _origin_json(model),
        "kind": model.kind,
        "architecture": model.architecture,
        "quantisation": model.quantisation,
        "size_bytes": model.size_bytes,
        "context_length": model.context_length,
        "licence": model.licence,
        "trusted": model.trusted,
        "verified": check.state,
        "problems": [{"kind": p.kind, "path": p.path, "detail": p.detail} for p in check.problems],
        "mlflow": None
        if card is None
        else {
            "flavors": list(card.flavors),
            "inputs": card.inputs,
            "outputs": card.outputs,
            "run_id": card.run_id,
            "model_uuid": card.model_uuid,
            "mlflow_version": card.mlflow_version,
            "utc_time_created": card.utc_time_created,
            "registered_name": card.registered_name,
            "registered_version": card.registered_version,
            "metadata": dict(card.metadata),
        },
    }


def _origin_json(model: ModelFolder) -> dict[str, Any] | None:
    return dataclasses.asdict(model.origin) if model.origin is not None else None
