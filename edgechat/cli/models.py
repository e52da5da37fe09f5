"""`edgechat models`: lists, adds, checks and removes installed models.

Results go to standard output, as a table or JSON; progress goes to standard error. Text from a model folder is shown
without anything a terminal would interpret.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechat.cli.models_format import WIDTH, card_json, entry_json, table, verdict
from edgechat.cli.models_registry import outdated, pull, push
from edgechat.cli.output import ProgressLine, complete_name, json_option, narrate, print_json
from edgechat.errors import ExitCode, ModelError
from edgechat.i18n.error_messages import translate_error
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgechat.models.manifest import Problem

_LABEL_WIDTH = 16


@click.group()
def models() -> None:
    """List, add, check and remove the models on this device, or pull and push them.

    A model is a folder: an MLflow model that holds an ONNX GenAI folder, or such a folder itself. With the extra
    transformers it may also be a Transformers pipeline saved by MLflow, or a Hugging Face folder. Adding one copies it
    to edgechat's own store, where it has a name and a manifest to verify it against. `pull`, `push` and `outdated` talk
    to an MLflow server; nothing else does.

    \b
    Examples:
      edgechat models list
      edgechat models add ./phi3-mini --name phi3
      edgechat --model-uri phi3
      edgechat models verify
      edgechat models pull models:/phi3@champion
    """


models.add_command(pull)
models.add_command(push)
models.add_command(outdated)


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the installed models.

    A star marks the one that is used when none is named.

    \b
    Examples:
      edgechat models list
      edgechat models list --json | jq -r ".[].name"
    """
    from edgechat.models.default import adjacent_model, default_name, embedded_gguf
    from edgechat.models.store import ModelStore

    entries = ModelStore().entries()
    carried, notice = None, ""
    try:
        if (carried := adjacent_model()) is not None:
            notice = f"{carried.name} in {carried.root} comes with this edgechat, and is used when none is named"
    except ModelError as error:
        notice = f"the model that comes with this edgechat cannot be opened: {error}"
    default = "" if carried is not None else default_name(entries)
    if as_json:
        print_json([entry_json(entry, default) for entry in entries])
        return
    if notice:
        narrate(notice)
    if not entries:
        comes = "; the next start installs the one edgechat came with" if embedded_gguf() is not None else ""
        narrate(f"no model is installed{comes}. To add one: edgechat models add FOLDER")
        return
    for line in table(entries, default):
        click.echo(line)


@models.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it; the folder's own name if left out.")
@click.option("--replace", is_flag=True, help="Replace the installed model of that name.")
@click.option("--link", is_flag=True, help="Hard-link the files: no space is used, but they stay the same files.")
@click.option("--trust", is_flag=True, help="Accept a model that loads native code of its own. It can do anything.")
@json_option
def add(folder: Path, name: str | None, replace: bool, link: bool, trust: bool, as_json: bool) -> None:
    """Install the model in FOLDER and print its name.

    The folder is checked first, and copied. Nothing in it is run. A model is installed completely or not at all, even
    if the power fails halfway.

    \b
    Examples:
      edgechat models add ./phi3-mini
      edgechat models add ./phi3-mini --name phi3 --replace
      edgechat models add /media/usb/model --link
    """
    from edgechat.models.store import ModelStore

    with ProgressLine("copying") as progress:
        model = ModelStore().add(folder, name, on_progress=progress, replace=replace, link=link, trust=trust)
    if as_json:
        from edgechat.models.manifest import Check

        print_json(card_json(model, Check("verified")))
        return
    narrate(f"installed; chat with it: edgechat --model-uri {model.name}")
    click.echo(model.name)


@models.command()
@click.argument("name", shell_complete=complete_name)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete the installed model NAME.

    Chats held with it stay.

    \b
    Example:
      edgechat models remove phi3
    """
    from edgechat.models.names import unknown_name
    from edgechat.models.store import ModelStore

    store = ModelStore()
    if not store.has(name):
        raise unknown_name(name, store.names())
    if not yes:
        try:
            confirmed = click.confirm(f"Delete the model {name}?", err=True)
        except click.Abort:
            if sys.stdin is not None and sys.stdin.isatty():
                raise
            raise ModelError(
                "Not removed", Sentence("Nobody confirmed that {name} is to go.", name=name), "Add --yes."
            ) from None
        if not confirmed:
            narrate(f"{name} stays")
            raise click.exceptions.Exit(ExitCode.ERROR)
    store.remove(name)
    narrate(f"removed {name}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name)
@json_option
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Compare models with what was installed.

    Every byte is read. Without NAME all models are verified. Ends with exit code 3 if anything is missing, changed,
    extra or unreadable.

    \b
    Examples:
      edgechat models verify
      edgechat models verify phi3
    """
    from edgechat.models.names import unknown_name
    from edgechat.models.store import ModelStore

    store = ModelStore()
    for name in names:
        if not store.has(name):
            raise unknown_name(name, store.names())
    results: list[dict[str, Any]] = []
    for name in dict.fromkeys(names) or store.names():
        problems: Iterable[Problem] = ()
        reason = ""
        try:
            with ProgressLine(f"verifying {name}") as progress:
                problems = store.verify(name, progress)
        except ModelError as error:
            reason = f"{error.title}: {error.message}"
        found = [{"kind": problem.kind, "path": problem.path, "detail": problem.detail} for problem in problems]
        results.append({"name": name, "ok": not found and not reason, "problems": found, "error": reason})
    if as_json:
        print_json(results)
    else:
        for result in results:
            for line in verdict(result):
                click.echo(line)
    if not results:
        narrate("no model is installed")
    wrong = [result["name"] for result in results if not result["ok"]]
    if wrong:
        raise ModelError(
            "Verification failed",
            Sentence("Not as installed: {wrong}.", wrong=", ".join(wrong)),
            "Put it right from where it came: edgechat models add FOLDER --name NAME --replace",
        )


@models.command()
@click.argument("model", metavar="[NAME_OR_FOLDER]", required=False, shell_complete=complete_name)
@json_option
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
    from edgechat.doctor.preflight import preflight
    from edgechat.models import speed_history
    from edgechat.models.card import card_lines
    from edgechat.models.manifest import quick_check
    from edgechat.models.uri import resolve_model

    found = resolve_model(model)
    with ProgressLine("checking") as progress:
        check = quick_check(found.root, progress)
    findings = [finding for finding in preflight(found) if finding.id != "files"]  # shown as "Verified"
    speed = speed_history.measured(found.name)
    if as_json:
        results = [{"id": one.id, "state": one.state, "detail": one.detail, "hint": one.hint} for one in findings]
        print_json({**card_json(found, check), "preflight": results, "tokens_per_second": speed and speed[0]})
        return
    here = [
        (f"{one.title} here", " ".join(map(translate_error, filter(None, (one.detail, one.hint))))) for one in findings
    ]
    for label, value in (*card_lines(found, check, speed), *here):
        if value:
            click.echo(
                textwrap.fill(
                    value,
                    WIDTH,
                    initial_indent=f"{label:<{_LABEL_WIDTH}}",
                    subsequent_indent=" " * _LABEL_WIDTH,
                    # Paths and ids are copied from here, so they are not broken at hyphens.
                    break_on_hyphens=False,
                    break_long_words=False,
                )
            )
