"""`edgechat models`: what is installed, and putting models in and out.

The answer goes to standard output, as a table or as JSON; what is going on goes to standard error. Words that come from
a model folder are shown without anything a terminal would obey.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechat.errors import EdgechatError, ExitCode, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

    from edgechat.models.manifest import Check, Problem
    from edgechat.models.mlmodel import ModelFolder
    from edgechat.models.store import Entry

_WIDTH = 80
_NAME_WIDTH = 36
_LABEL_WIDTH = 14

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from edgechat.models.store import ModelStore

    try:
        return [CompletionItem(name) for name in ModelStore().names() if name.startswith(incomplete)]
    except EdgechatError:
        return []


@click.group()
def models() -> None:
    """List, add, check and remove the models on this device.

    A model is a folder: an MLflow model that holds an ONNX GenAI folder, or such a folder itself. Adding one copies it
    to edgechat's own store, where it has a name and a manifest to verify it against.

    \b
    Examples:
      edgechat models list
      edgechat models add ./phi3-mini --name phi3
      edgechat --model-uri phi3
      edgechat models verify
    """


@models.command("list")
@_json_option
def list_models(as_json: bool) -> None:
    """List the installed models.

    A star marks the one that is used when none is named.

    \b
    Examples:
      edgechat models list
      edgechat models list --json | jq -r ".[].name"
    """
    from edgechat.models.store import ModelStore

    entries = ModelStore().entries()
    default = _default_name(entries)
    if as_json:
        _print_json([_entry_json(entry, default) for entry in entries])
        return
    if not entries:
        from edgechat.models.default import embedded_gguf

        comes = "; the next start installs the one edgechat came with" if embedded_gguf() is not None else ""
        _narrate(f"no model is installed{comes}. To add one: edgechat models add FOLDER")
        return
    for line in _table(entries, default):
        click.echo(line)


@models.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it; the folder's own name if left out.")
@click.option("--replace", is_flag=True, help="Put it in the place of the installed model of that name.")
@click.option("--link", is_flag=True, help="Hard-link the files: no space is used, but they stay the same files.")
@click.option("--trust", is_flag=True, help="Accept a model that loads native code of its own. It can do anything.")
@_json_option
def add(folder: Path, name: str | None, replace: bool, link: bool, trust: bool, as_json: bool) -> None:
    """Install the model in FOLDER and print its name.

    The folder is checked first, and copied. Nothing in it is run. A model is whole in the store or not there, even if
    the power fails half-way.

    \b
    Examples:
      edgechat models add ./phi3-mini
      edgechat models add ./phi3-mini --name phi3 --replace
      edgechat models add /media/usb/model --link
    """
    from edgechat.models.store import ModelStore

    with _ProgressLine("copying") as progress:
        model = ModelStore().add(folder, name, progress=progress, replace=replace, link=link, trust=trust)
    if as_json:
        from edgechat.models.manifest import Check

        _print_json(_card_json(model, Check("verified")))
        return
    _narrate(f"installed; chat with it: edgechat --model-uri {model.name}")
    click.echo(model.name)


@models.command()
@click.argument("name", shell_complete=_complete_name)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete the installed model NAME.

    Chats held with it stay.

    \b
    Example:
      edgechat models remove phi3
    """
    from edgechat.models.store import ModelStore, unknown_name

    store = ModelStore()
    if not store.has(name):
        raise unknown_name(name, store.names())
    if not yes:
        try:
            confirmed = click.confirm(f"Delete the model {name}?", err=True)
        except click.Abort:
            if sys.stdin is not None and sys.stdin.isatty():
                raise
            raise ModelError("Not removed", f"Nobody confirmed that {name} is to go.", "Add --yes.") from None
        if not confirmed:
            _narrate(f"{name} stays")
            raise click.exceptions.Exit(ExitCode.ERROR)
    store.remove(name)
    _narrate(f"removed {name}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=_complete_name)
@_json_option
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Compare models with what was installed.

    Every byte is read. Without NAME all models are verified. Ends with exit code 3 if anything is missing, changed,
    extra or unreadable.

    \b
    Examples:
      edgechat models verify
      edgechat models verify phi3
    """
    from edgechat.models.store import ModelStore, unknown_name

    store = ModelStore()
    for name in names:
        if not store.has(name):
            raise unknown_name(name, store.names())
    results: list[dict[str, Any]] = []
    for name in dict.fromkeys(names) or store.names():
        problems: Iterable[Problem] = ()
        reason = ""
        try:
            with _ProgressLine(f"verifying {name}") as progress:
                problems = store.verify(name, progress)
        except ModelError as error:
            reason = f"{error.title}: {error.message}"
        found = [{"kind": problem.kind, "path": problem.path, "detail": problem.detail} for problem in problems]
        results.append({"name": name, "ok": not found and not reason, "problems": found, "error": reason})
    if as_json:
        _print_json(results)
    else:
        for result in results:
            for line in _verdict(result):
                click.echo(line)
    if not results:
        _narrate("no model is installed")
    wrong = [result["name"] for result in results if not result["ok"]]
    if wrong:
        raise ModelError(
            "Verification failed",
            f"Not as installed: {', '.join(wrong)}.",
            "Put it right from where it came: edgechat models add FOLDER --name NAME --replace",
        )


@models.command()
@click.argument("model", metavar="[NAME_OR_FOLDER]", required=False, shell_complete=_complete_name)
@_json_option
def show(model: str | None, as_json: bool) -> None:
    """Show what a model is, and whether it is intact.

    Its origin, signature, type, size and licence, as its own files tell them. Without a name, the model that is used
    when none is named.

    \b
    Examples:
      edgechat models show
      edgechat models show ./phi3-mini
      edgechat models show phi3 --json
    """
    from edgechat.models.manifest import quick_check
    from edgechat.models.uri import resolve_model

    found = resolve_model(model)
    with _ProgressLine("checking") as progress:
        check = quick_check(found.root, progress)
    if as_json:
        _print_json(_card_json(found, check))
        return
    for label, value in _card_lines(found, check):
        if value:
            click.echo(
                textwrap.fill(
                    value,
                    _WIDTH,
                    initial_indent=f"{label:<{_LABEL_WIDTH}}",
                    subsequent_indent=" " * _LABEL_WIDTH,
                    # Paths and ids are copied from here: they are not torn at their dashes.
                    break_on_hyphens=False,
                    break_long_words=False,
                )
            )


def _default_name(entries: tuple[Entry, ...]) -> str:
    from edgechat.models.default import DEFAULT_NAME

    names = [entry.name for entry in entries]
    return DEFAULT_NAME if DEFAULT_NAME in names else names[0] if len(names) == 1 else ""


def _table(entries: tuple[Entry, ...], default: str) -> Iterable[str]:
    from edgechat.models.words import shown, size_text

    width = max(4, min(_NAME_WIDTH, max(len(entry.name) for entry in entries)))
    yield f"  {'NAME':<{width}}  {'TYPE':<12} {'SIZE':>8}  {'CONTEXT':>7}  WEIGHTS"
    for entry in entries:
        name = ("* " if entry.name == default else "  ") + entry.name
        if len(entry.name) > width:  # whole, for it is to be copied; the rest goes below it
            yield name
            name = ""
        model = entry.model
        if model is None:
            room = _WIDTH - width - 4
            yield f"{name:<{width + 2}}  {shown(f'cannot be opened: {entry.error}', room)}"
            continue
        context = str(model.context_length or "?")
        weights = shown(model.quantisation or "-", max(8, _WIDTH - width - 36))
        kind, size = shown(model.architecture, 12), size_text(model.size_bytes)
        yield f"{name:<{width + 2}}  {kind:<12} {size:>8}  {context:>7}  {weights}"


def _card_lines(model: ModelFolder, check: Check) -> Iterable[tuple[str, str]]:
    from edgechat.models.words import shown, size_text

    card = model.mlflow
    yield "Name", model.name
    if card is not None:
        version = f", version {card.registered_version}" if card.registered_version else ""
        yield "Registered", shown(card.registered_name + version) if card.registered_name else ""
    yield "Folder", shown(str(model.root), 400)
    yield "Source", shown(model.source)
    yield "Type", shown(model.architecture)
    yield "Weights", shown(model.quantisation) or "not told"
    yield "Size", size_text(model.size_bytes)
    yield "Context", f"{model.context_length:,} tokens" if model.context_length else "not told"
    yield "Licence", shown(model.licence) or "not told"
    if card is None:
        yield "MLflow", "no; a bare ONNX GenAI folder"
    else:
        yield "Flavors", shown(", ".join(card.flavors))
        yield "Input", _side(card.inputs)
        yield "Output", _side(card.outputs)
        yield "Run", shown(card.run_id)
        yield "Model id", shown(card.model_uuid)
        yield "Saved", shown(f"{card.utc_time_created} UTC") if card.utc_time_created else ""
        yield "MLflow", shown(card.mlflow_version)
    yield "Verified", _verified(check)


def _verified(check: Check) -> str:
    from edgechat.models.words import shown

    if check.state == "verified":
        return "yes, every file is as it was installed"
    if check.state == "unverified":
        return "no, the folder has no manifest; adding the model makes one"
    first = check.problems[0]
    more = f" and {len(check.problems) - 1} more" if check.problems[1:] else ""
    return f"NO, {first.kind}: {shown(first.path)}{more}"


def _side(text: str) -> str:
    """One side of an MLflow signature for people: "prompt: string, messages: array (optional)"."""
    from edgechat.models.words import shown

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


def _verdict(result: dict[str, Any]) -> Iterable[str]:
    from edgechat.models.words import shown

    if result["ok"]:
        yield f"{result['name']}: ok"
    if result["error"]:
        yield f"{result['name']}: {shown(result['error'], 300)}"
    for problem in result["problems"]:
        detail = f" ({shown(problem['detail'], 200)})" if problem["detail"] else ""
        yield f"{result['name']}: {problem['kind']}: {shown(problem['path'], 300)}{detail}"


def _entry_json(entry: Entry, default: str) -> dict[str, Any]:
    data: dict[str, Any] = {"name": entry.name, "default": entry.name == default, "folder": str(entry.path)}
    if entry.model is None:
        return {**data, "error": str(entry.error)}
    return {
        **data,
        "architecture": entry.model.architecture,
        "size_bytes": entry.model.size_bytes,
        "context_length": entry.model.context_length,
        "quantisation": entry.model.quantisation,
        "licence": entry.model.licence,
    }


def _card_json(model: ModelFolder, check: Check) -> dict[str, Any]:
    card = model.mlflow
    return {
        "name": model.name,
        "folder": str(model.root),
        "genai_folder": str(model.genai),
        "source": model.source,
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


def _print_json(data: Any) -> None:
    # ASCII: an escape sequence in a model's metadata arrives as \u001b, and broken Unicode does not stop the output.
    # YAML knows dates and keys that are no strings; they are printed as what they look like.
    click.echo(json.dumps(_jsonable(data), indent=2, default=str))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(item) for item in value]
    return value


def _narrate(text: str) -> None:
    click.echo(f"edgechat: {text}", err=True)


class _ProgressLine:
    """How far a long step came: a line written over on a terminal, and nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = ""
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)

    def __call__(self, done: int, total: int) -> None:
        text = f"edgechat: {self._what} {done * 100 // max(1, total)} %"
        if self._live and text != self._shown:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)
            self._shown = text
