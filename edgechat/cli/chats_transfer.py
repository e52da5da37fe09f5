"""`edgechat chats export` and `import`: transfers chats out of the history and into it.

Exports go to standard output or to a private file, which is written completely or not at all; counts and notes on what
could not be transferred go to standard error.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from edgechat.cli.history_errors import HistoryCommand
from edgechat.cli.output import ProgressLine, narrate, print_json
from edgechat.errors import StorageError, TransferError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgechat.history.transfer.exporter import Format


@click.command("export", cls=HistoryCommand)
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "markdown", "phi3", "openai"]),
    default="json",
    show_default=True,
    help="json keeps everything; the others only the branch that is shown.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, replaced if it is there.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the form json, and export nothing.")
def export_chats(ids: tuple[int, ...], form: Format, out: Path | None, schema: bool) -> None:
    """Write chats to standard output: those of the IDs, or all.

    json has every branch and reply, their states, usage and times, and `edgechat chats import` reads it back; its form
    is told by --schema. markdown is for people, phi3 is the prompt text of Phi-3, openai has one line of `messages` for
    each chat.

    \b
    Examples:
      edgechat chats export > chats.json
      edgechat chats export 12 --format markdown --out chat.md
      edgechat chats export --format openai | jq -r '.messages[0].content'
    """
    from edgechat.history.transfer.exporter import export
    from edgechat.history.transfer.records import chat_ids
    from edgechat.history.transfer.schema import schema as form_schema
    from edgechat.session.factory import open_database

    if schema:
        print_json(form_schema())
        return
    with closing(open_database(narrate, to_read=True)) as database:
        there = chat_ids(database)
        for id_ in ids:
            if id_ not in there:
                raise StorageError(
                    "No such chat", Sentence("The history has no chat {id}.", id=id_), "It may have been deleted."
                )
        pieces = export(database, list(dict.fromkeys(ids)) or there, form)
        if out is not None and str(out) != "-":
            _write(out, pieces)
            narrate(f"wrote {out}")
            return
        if sys.stdout.isatty():
            sys.stdout.writelines(pieces)
            return
        stream = sys.stdout.buffer  # to a file or a pipe, the text is exact UTF-8
        for piece in pieces:
            stream.write(piece.encode())
        stream.flush()


def _write(out: Path, pieces: Iterable[str]) -> None:
    """Write a file completely, or leave it as it was; a special file such as /dev/stderr is written directly."""
    part = ""
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as device:
                for piece in pieces:
                    device.write(piece.encode())
            return
        handle, part = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(out)
    except BaseException as error:
        if part:
            with suppress(OSError):
                Path(part).unlink()
        if isinstance(error, OSError):
            raise StorageError(
                "File cannot be written",
                Sentence("{out}: {strerror}.", out=out, strerror=error.strerror or error),
                "Name another file with --out.",
            ) from error
        raise


@click.command("import", cls=HistoryCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only report what would be imported.")
def import_chats(file: Path, dry_run: bool) -> None:
    """Add the chats of FILE to the history; - is standard input.

    FILE is what `edgechat chats export` wrote, ChatGPT's export (conversations.json, or the archive that contains it),
    Open WebUI's export of chats, or the logs.db of `llm`. All of it is imported, or nothing. Chats that exist already
    are reported and left alone. Imported chats are listed below the existing ones.

    \b
    Examples:
      edgechat chats import chats.json
      edgechat chats import ChatGPT-export.zip --dry-run
      edgechat chats import "$(llm logs path)"
    """
    from edgechat.history.transfer import importer
    from edgechat.session.factory import open_database

    source: Path | BinaryIO = file
    if str(file) == "-":
        if sys.stdin is None:
            raise TransferError("Nothing to import", "Standard input is closed.", "Name a file.")
        source = sys.stdin.buffer
    with closing(open_database(narrate)) as database, ProgressLine("importing") as line:

        def report(what: str, done: int, total: int) -> None:
            line.show(f"{what} {done * 100 // total} %" if total else f"{what}, {done >> 20} MB so far")

        result = importer.import_chats(database, source, dry_run=dry_run, on_progress=report)
    for words, times in result.notes.items():
        narrate(f"{words} ({times:,})")
    known = f"; {counted(result.known, 'chat')} there already" if result.known else ""
    click.echo(
        f"{'would import' if dry_run else 'imported'} {counted(result.chats, 'chat')} with "
        f"{counted(result.turns, 'turn')} and {counted(result.replies, 'reply', 'replies')}{known}"
    )
