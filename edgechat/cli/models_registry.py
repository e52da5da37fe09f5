"""`edgechat models pull`, `push` and `outdated`, which contact an MLflow server.

They report progress on standard error; the result on standard output is a name, a version or a table. mlflow is
imported only when one of them runs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from edgechat.cli.output import ProgressLine, complete_name, json_option, narrate, print_json
from edgechat.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

_server_option = click.option(
    "--tracking-uri", metavar="URI", help="The MLflow server; the variable MLFLOW_TRACKING_URI if left out."
)


@click.command()
@click.argument("uri")
@click.option("--name", metavar="NAME", help="What to call it; the registered model's name if left out.")
@click.option("--replace", is_flag=True, help="Replace another model of that name.")
@_server_option
@json_option
def pull(uri: str, name: str | None, replace: bool, tracking_uri: str | None, as_json: bool) -> None:
    """Install the model that URI names from an MLflow server, and print its name.

    From then on it is used without the server, by its name or by the same URI. An interrupted pull resumes with the
    files that are complete. A newer version replaces the older one, which stays usable until then.

    URI is models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest, models:/m-ID, runs:/RUN_ID/model, or a folder
    of artifacts (mlflow-artifacts:/... or its http address).

    \b
    Examples:
      edgechat models pull models:/phi3@champion --tracking-uri http://mlflow.example:5000
      edgechat models pull models:/phi3/3 --name phi3-v3
      edgechat --model-uri models:/phi3@champion
    """
    from edgechat.models.origin import describe_resolution
    from edgechat.models.sanitize import size_text
    from edgechat.registry.pull import pull as bring

    def waiting() -> None:
        narrate("another edgechat is installing a model of that name; waiting for it")

    started = False
    try:
        with ProgressLine("") as line:

            def show(what: str, done: int, total: int) -> None:
                nonlocal started
                if not started:
                    narrate(f"pulling {size_text(total)}")
                started = True
                line.show(f"{what} {size_text(done)} of {size_text(total)}")

            pulled = bring(
                uri, name=name, replace=replace, tracking_uri=tracking_uri, on_progress=show, on_wait=waiting
            )
    except KeyboardInterrupt:
        if started:
            narrate("stopped; the files that are whole are kept, and the next pull goes on from there")
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    origin = pulled.model.origin
    assert origin is not None
    if as_json:
        fetched = pulled.fetched
        print_json(
            {
                "name": pulled.model.name,
                "folder": str(pulled.model.root),
                "already_here": fetched is None,
                "fetched_bytes": fetched.size - fetched.reused if fetched is not None else 0,
                "size_bytes": fetched.size if fetched is not None else 0,
                "origin": dataclasses.asdict(origin),
            }
        )
        return
    if pulled.fetched is None:
        narrate(f"nothing to do: {describe_resolution(origin.uri, origin)}")
    else:
        before = f"; {size_text(pulled.fetched.reused)} were here already" if pulled.fetched.reused else ""
        instead = f", in the place of version {pulled.before}" if pulled.before else ""
        narrate(f"fetched {size_text(pulled.fetched.size - pulled.fetched.reused)}{before}")
        narrate(f"installed {origin.what}{instead}; chat with it: edgechat --model-uri {origin.uri}")
    click.echo(pulled.model.name)


@click.command()
@click.argument("model", metavar="NAME_OR_FOLDER", shell_complete=complete_name)
@click.option("--register", "register", metavar="NAME", required=True, help="The registered model to add a version to.")
@click.option("--alias", metavar="ALIAS", help="An alias for the new version.")
@_server_option
@json_option
def push(model: str, register: str, alias: str | None, tracking_uri: str | None, as_json: bool) -> None:
    """Log a model on an MLflow server and register it as a new version of NAME.

    The folder is compared with its manifest first and left as it is. A bare ONNX GenAI folder becomes an MLflow model
    on the way.

    \b
    Examples:
      edgechat models push phi3 --register phi3 --alias champion --tracking-uri http://mlflow.example:5000
      edgechat models push ./phi3-mini --register phi3
    """
    from edgechat.models.sanitize import size_text
    from edgechat.models.uri import resolve_model
    from edgechat.registry.push import push as send

    found = resolve_model(model)
    with ProgressLine("") as line:
        pushed = send(
            found.root,
            register=register,
            alias=alias,
            tracking_uri=tracking_uri,
            on_progress=lambda done, total: line.show(f"sending {size_text(done)} of {size_text(total)}"),
        )
    if as_json:
        print_json(dataclasses.asdict(pushed))
        return
    for label, value in (
        ("Model", f"models:/{pushed.name}/{pushed.version}"),
        ("Alias", f"models:/{pushed.name}@{pushed.alias}" if pushed.alias else ""),
        ("Run", pushed.run_id),
        ("Model id", pushed.model_id),
        ("Server", pushed.tracking_uri),
    ):
        if value:
            click.echo(f"{label:<10}{value}")


@click.command()
@_server_option
@json_option
def outdated(tracking_uri: str | None, as_json: bool) -> None:
    """Ask the servers whether there are newer versions of the models that were pulled.

    For a model pulled by an alias, that is the version the alias points to now; otherwise the newest. Each model's own
    server is asked, or the one named by --tracking-uri. Ends with exit code 3 if one cannot be asked.

    \b
    Examples:
      edgechat models outdated
      edgechat models outdated --json | jq -r ".[] | select(.state == \"outdated\").uri"
    """
    from edgechat.models.store import ModelStore
    from edgechat.registry.pull import check_servers

    origins = ModelStore().origins.all()
    if not origins and not as_json:
        narrate("no model was pulled from a server")
        return
    statuses, failed = check_servers(origins.values(), tracking_uri)
    rows = [
        {"name": name, "uri": origin.uri, "version": origin.version, "now": status.now, "state": status.state}
        for (name, origin), status in zip(origins.items(), statuses, strict=True)
    ]
    if as_json:
        print_json([{**row, "server": origin.server} for row, origin in zip(rows, origins.values(), strict=True)])
    else:
        for line in _table(rows):
            click.echo(line)
    if failed:
        raise failed[0]


def _table(rows: list[dict[str, Any]]) -> Iterable[str]:
    from edgechat.models.sanitize import shown

    columns = ("NAME", "URI", "VERSION", "NOW", "STATE")
    cells = [
        columns,
        *((row["name"], shown(row["uri"]), row["version"] or "-", row["now"] or "-", row["state"]) for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    for row in cells:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
