"""What `edgechat ask` reads beside its question: the text of a pipe or a file, and never what is somebody else's.

Standard input is inherited, so it may belong to the loop around the command, stay open without an end, or hold no text
at all. Which it is can be seen in part; what cannot be seen is told on standard error.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edgechat.chat.text_encoding import Decoded, NotTextError, decoded
from edgechat.errors import ConfigError
from edgechat.i18n.catalog import counted

LARGEST = 64 * 1024 * 1024
"""Bytes that are read at the most: millions of tokens, more than any model here can hold."""

PATIENCE = 2.0
"""Seconds after which it is told what is waited for."""


def piped_text(tell: Callable[[str], None], *, question: bool, wanted: bool | None) -> str:
    """The text of standard input that belongs to the question, or is it.

    Args:
        tell: Is given what the user should know of it.
        question: Whether there is a question already. Without one, all that can be read is the question.
        wanted: Whether standard input was asked for, or asked to be left alone; None leaves it to what it is.

    Raises:
        ConfigError: It is no text, or too large.
    """
    if wanted is False or sys.stdin is None:
        return ""
    try:
        number = sys.stdin.fileno()
        if wanted is None and not _is_ours(number, tell, question=question):
            return ""
        data = _read(number, tell)
    except (io.UnsupportedOperation, OSError, ValueError):  # closed, or a folder: as if there were none
        return ""
    text = _text(data, tell)
    if question and wanted is None and text.strip() and _is_shared(number):
        count = counted(len(text), "character")
        tell(f"{count} of standard input went along with the question; in a loop that reads it, add --no-stdin")
    return text


def _is_ours(number: int, tell: Callable[[str], None], *, question: bool) -> bool:
    """Whether standard input is there for this command."""
    kind = os.fstat(number)
    if os.isatty(number):
        return False
    if not question:
        return True
    if stat.S_ISREG(kind.st_mode) and (place := os.lseek(number, 0, os.SEEK_CUR)):
        # A file that was opened for this command is at its beginning. Who reads it already, reads on.
        if place < kind.st_size:
            tell("standard input is being read by something else, and left alone; --stdin reads the rest of it")
        return False
    return not stat.S_ISCHR(kind.st_mode)  # /dev/null has nothing, /dev/zero no end


def _read(number: int, tell: Callable[[str], None]) -> bytes:
    notice = threading.Timer(
        PATIENCE, tell, ["reading standard input to its end; Ctrl+D or Ctrl+C ends that, --no-stdin leaves it alone"]
    )
    notice.daemon = True
    notice.start()
    data = bytearray()
    try:
        while len(data) <= LARGEST:
            try:
                piece = os.read(number, 1 << 16)
            except BlockingIOError:  # whoever made the pipe does not want to wait; we do
                select.select([number], [], [])
                continue
            if not piece:
                return bytes(data)
            data += piece
    finally:
        notice.cancel()
    raise ConfigError(
        "Standard input is too large",
        f"It has more than {LARGEST >> 20} MB.",
        "Send a part of it, or none with --no-stdin.",
    )


def _text(data: bytes, tell: Callable[[str], None]) -> str:
    try:
        found = decoded(data)
    except NotTextError as error:
        raise ConfigError(
            "Standard input is not text", str(error), "Send text, or leave standard input out with --no-stdin."
        ) from error
    if found.replaced:
        some = "a place that was" if found.replaced == 1 else f"{found.replaced:,} places that were"
        tell(f"standard input has {some} not UTF-8, and became \ufffd")
    elif found.first_wrong is not None:
        tell(f"standard input is not UTF-8; it was read as {_known_as(found)}")
    return found.text


def _known_as(found: Decoded) -> str:
    return "Windows-1252" if found.encoding == "cp1252" else found.encoding


def _is_shared(number: int) -> bool:
    """Whether whoever started this command has the same pipe, as a loop of a shell does; Linux can tell."""
    try:
        theirs, ours = Path(f"/proc/{os.getppid()}/fd/0").stat(), os.fstat(number)
    except OSError:
        return False
    return stat.S_ISFIFO(ours.st_mode) and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
