"""Commands about files: attaching to a message, and exporting a chat."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechat.chat.attachments import Attachment, read_file, too_large
from edgechat.errors import StorageError
from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import Sentence
from edgechat.session.session import Session
from edgechat.slash.commands import EXPORT_FORMATS, SlashError
from edgechat.slash.interface import Front

if TYPE_CHECKING:
    from edgechat.history.transfer.exporter import Format


async def read(front: Front, argument: str) -> None:
    """`/read FILE`."""
    await front.attach(parsed_path(argument))


async def read_for(session: Session, path: Path) -> tuple[Attachment, int | None]:
    """Read a text file for the next message and count its tokens; None if the model is not available.

    Raises:
        AttachmentError: It cannot be read, is not text, or exceeds any context of this model.
    """
    attachment = await asyncio.to_thread(read_file, path)
    tokens, info = await session.prompts.count(attachment.block), session.info
    if tokens is not None and info is not None and tokens >= info.context:
        raise too_large(attachment.name, tokens, info.context)
    return attachment, tokens


def parsed_path(argument: str) -> Path:
    """Return a path as typed, with or without quotes."""
    for quote in ("'", '"'):
        if len(argument) > 1 and argument[0] == argument[-1] == quote:
            argument = argument[1:-1]
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:  # ~ without a home
        raise StorageError(
            "There is no such folder",
            Sentence("{argument}: {error}.", argument=argument, error=error),
            "Write the whole path.",
        ) from error


async def export(front: Front, argument: str) -> None:
    """`/export [FORMAT] [FILE]`."""
    form, path = export_target(argument)
    text = await front.session.chat.export(form)
    if not text:
        raise SlashError("The chat has no message yet", "", "Write one, then export it.")
    if path is None:
        await front.tell(_("This chat as {form}").format(form=form), text.removesuffix("\n").split("\n"))
        return
    try:
        await asyncio.to_thread(_write_new, path, text)
    except FileExistsError as error:
        raise StorageError(
            "The file is there already", f"{path}.", "Nothing was written. Name another file."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            "File cannot be written", Sentence("{path}: {reason}.", path=path, reason=reason), "Name another file."
        ) from error
    await front.say(_("The chat is written to {path}.").format(path=path.absolute()))


def export_target(argument: str) -> tuple[Format, Path | None]:
    """Return format and file of `/export`, both optional; a file's suffix determines the format."""
    word, _space, rest = argument.partition(" ")
    path = parsed_path(rest.strip() if word in EXPORT_FORMATS else argument) if argument else None
    if path is not None and not path.name:
        path = None
    form: Any = word if word in EXPORT_FORMATS else "markdown"
    if path is not None and word not in EXPORT_FORMATS:
        form = next((name for name, ending in EXPORT_FORMATS.items() if path.suffix == ending), "markdown")
    return form, path


def _write_new(path: Path, text: str) -> None:
    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    try:
        with open(path, "x", encoding="utf-8", newline="\n", opener=private) as file:
            file.write(text)
    except FileExistsError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)  # a partial file would block the next attempt
        raise
