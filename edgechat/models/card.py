"""A model's card: a readable description drawn from its own files and this machine.

Text from a model folder is shown without anything a terminal would interpret. Labels are English source texts,
translated where the card is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgechat.i18n.catalog import N_, counted
from edgechat.models.sanitize import shown, size_text

if TYPE_CHECKING:
    from edgechat.models.folder import ModelFolder
    from edgechat.models.manifest import Check


def card_lines(model: ModelFolder, check: Check, speed: tuple[float, int] | None = None) -> Iterable[tuple[str, str]]:
    """Yield the labels and values of a card; rows with an empty value are not shown.

    Args:
        model: The model.
        check: Result of comparing it with its manifest.
        speed: Tokens per second on this machine and the number of replies it is the median of; None if unknown.
    """
    card, origin = model.mlflow, model.origin
    yield N_("Name"), model.name
    if origin is not None:
        aliases = f" ({', '.join(origin.aliases)})" if origin.aliases else ""
        yield N_("Registered"), shown(f"{origin.name}, version {origin.version}{aliases}") if origin.name else ""
        yield N_("Pulled"), shown(f"{origin.pulled} from {origin.server}", 400)
        yield N_("URI"), shown(origin.uri, 400)
    elif card is not None:
        version = f", version {card.registered_version}" if card.registered_version else ""
        yield N_("Registered"), shown(card.registered_name + version) if card.registered_name else ""
    yield N_("Folder"), shown(str(model.root), 400)
    yield N_("Source"), shown(model.source)
    yield N_("Type"), shown(model.architecture)
    yield (
        N_("Runs on"),
        "transformers (the extra of that name)" if model.kind == "transformers" else "onnxruntime-genai",
    )
    yield N_("Weights"), shown(model.quantisation) or "not told"
    yield N_("Size"), size_text(model.size_bytes)
    yield N_("Context"), counted(model.context_length, "token") if model.context_length else "not told"
    yield N_("Licence"), shown(model.licence) or "not told"
    if card is None:
        bare = "Hugging Face" if model.kind == "transformers" else "ONNX GenAI"
        yield N_("MLflow"), f"no; a bare {bare} folder"
    else:
        yield N_("Flavors"), shown(", ".join(card.flavors))
        yield N_("Input"), _side(card.inputs)
        yield N_("Output"), _side(card.outputs)
        yield N_("Run"), shown(card.run_id)
        yield N_("Model id"), shown(card.model_uuid)
        yield N_("Saved"), shown(f"{card.utc_time_created} UTC") if card.utc_time_created else ""
        yield N_("MLflow"), shown(card.mlflow_version)
    yield N_("Verified"), _verified(check)
    if speed is not None:
        replies = f"the last {speed[1]} replies" if speed[1] > 1 else "one reply"
        yield N_("Speed here"), f"{speed[0]:.1f} tokens a second, measured in {replies}"


def card_markdown(model: ModelFolder, check: Check) -> str:
    """Return a model's card as a Markdown table."""
    # The folder is specific to this machine and useless to readers elsewhere.
    rows = [(label, value) for label, value in card_lines(model, check) if value and label != "Folder"]
    table = [f"| {label} | {value.replace('|', '/')} |" for label, value in rows]
    return "\n".join([f"# {model.name}", "", "| | |", "| --- | --- |", *table, ""])


def _verified(check: Check) -> str:
    if check.state == "verified":
        return "yes, every file is as it was installed"
    if check.state == "unverified":
        return "no, the folder has no manifest; adding the model makes one"
    first = check.problems[0]
    more = f" and {len(check.problems) - 1} more" if check.problems[1:] else ""
    return f"NO, {first.kind}: {shown(first.path)}{more}"


def _side(text: str) -> str:
    """Format one side of an MLflow signature: "prompt: string, messages: array (optional)"."""
    try:
        columns = json.loads(text) if text else []
        parts = [
            (f"{column['name']}: " if column.get("name") else "")
            + str(column.get("type", "?"))
            + ("" if column.get("required", True) else " (optional)")
            for column in columns
        ]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return shown(text, 300)
    return shown(", ".join(parts), 300)
