"""`edgechat sync`: sends chats and feedback to an MLflow server, only when called.

mlflow is imported when something is to be sent; `--dry-run` contacts nobody.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgechat.cli.history_errors import HistoryCommand
from edgechat.cli.output import ProgressLine, json_option, narrate, print_json
from edgechat.errors import StorageError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from edgechat.history.database import Database


@click.command(cls=HistoryCommand)
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Send all chats.")
@click.option(
    "--rated", is_flag=True, help="Send the chats with feedback on any reply; the default without IDs or --all."
)
@click.option("--tracking-uri", metavar="URI", help="The server; the variable MLFLOW_TRACKING_URI if left out.")
@click.option(
    "--experiment", metavar="NAME", help='The experiment; MLFLOW_EXPERIMENT_NAME if left out, or else "edgechat".'
)
@click.option("--dry-run", is_flag=True, help="Print everything that would be sent, and contact nobody.")
@json_option
def sync(
    ids: tuple[int, ...],
    everything: bool,
    rated: bool,
    tracking_uri: str | None,
    experiment: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send chats to an MLflow server: only those with feedback, if none is named.

    Each reply becomes a trace: the messages, the reply, the model's name, token usage, timings, and your thumb and note
    as an assessment. Archived chats count as well; deleted ones do not. What is already there is not sent again, what
    has changed is updated there, and an interrupted upload resumes the next time.

    Nothing is ever sent without this command.

    \b
    Examples:
      edgechat sync --tracking-uri http://mlflow.example:5000 --dry-run
      edgechat sync --tracking-uri http://mlflow.example:5000
      edgechat sync 12 13 --experiment field-test
    """
    if sum((bool(ids), everything, rated)) > 1:
        raise click.UsageError("IDs, --all and --rated each choose chats; give one of them.")
    from edgechat.registry import trace_upload as flavor
    from edgechat.session.factory import open_database

    with closing(open_database(narrate)) as database:
        chats = _chosen(database, ids, everything)
        if not chats:
            narrate("no chat is kept here yet" if everything else "no reply has feedback; see `edgechat chats rate`")
        if dry_run:
            found = flavor.pending(database, chats, tracking_uri=tracking_uri, experiment=experiment)
            print_json([{"chat": item.chat, "change": item.change, **asdict(item.trace)} for item in found])
            return
        if not chats and not as_json:
            return
        with ProgressLine("") as line:
            result = flavor.sync(
                database,
                chats,
                tracking_uri=tracking_uri,
                experiment=experiment,
                on_progress=lambda sent: line.show(f"sent {_count(sent)}"),
            )
    if as_json:
        print_json(asdict(result))
        return
    changed = f", {result.changed:,} changed" if result.changed else ""
    click.echo(f"sent {_count(result.new + result.changed)}{changed}; {result.known:,} there already")


def _chosen(database: Database, ids: tuple[int, ...], everything: bool) -> list[int]:
    from edgechat.history.feedback import Feedback
    from edgechat.history.transfer.records import chat_ids

    if not ids and not everything:
        return Feedback(database).chats()
    there = chat_ids(database)
    for id_ in ids:
        if id_ not in there:
            raise StorageError(
                "No such chat", Sentence("The history has no chat {id}.", id=id_), "It may have been deleted."
            )
    return list(dict.fromkeys(ids)) or there


def _count(replies: int) -> str:
    return counted(replies, "reply", "replies")
