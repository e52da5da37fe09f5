"""Reads text for `edgechat ask` from a pipe or a file on standard input, unless it belongs to something else.

Standard input is inherited, so it may belong to the loop around the command, stay open forever, or contain no text.
Part of this can be detected; what cannot is explained on standard error.
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
from edgechat.i18n.sentence import Sentence

LARGEST = 64 * 1024 * 1024
"""Maximum bytes to read: millions of tokens, more than any model here can hold."""

PATIENCE = 2.0
"""Seconds after which to say what is being waited for."""


def piped_text(narrate: Callable[[str], None], *, question: bool, use_stdin: bool | None) -> str:
    """Return the text on standard input that belongs to the question, or is the question.

    Args:
        narrate: Called with messages for the user.
        question: Whether there is a question already. Otherwise, all that can be read is the question.
        use_stdin: Whether to read or ignore standard input, if the user said so; None decides by what it is.

    Raises:
        ConfigError: It is not text, or is too large.
    """
    if use_stdin is False or sys.stdin is None:
        return ""
    try:
        number = sys.stdin.fileno()
        if use_stdin is None and not _is_ours(number, narrate, question=question):
            return ""
        data = _read(number, narrate)
    except (io.UnsupportedOperation, OSError, ValueError):  # closed, or a folder: treated as absent
        return ""
    text = _text(data, narrate)
    if question and use_stdin is None and text.strip() and _is_shared(number):
        count = counted(len(text), "character")
        narrate(f"{count} of standard input went along with the question; in a loop that reads it, add --no-stdin")
    return text


def _is_ours(number: int, narrate: Callable[[str], None], *, question: bool) -> bool:
    """Whether standard input is meant for this command."""
    kind = os.fstat(number)
    if os.isatty(number):
        return False
    if not question:
        return True
    if stat.S_ISREG(kind.st_mode) and (place := os.lseek(number, 0, os.SEEK_CUR)):
        # A file opened for this command is at its start; otherwise something else is already reading it.
        if place < kind.st_size:
            narrate("standard input is being read by something else, and left alone; --stdin reads the rest of it")
        return False
    return not stat.S_ISCHR(kind.st_mode)  # /dev/null is empty, /dev/zero endless


def _read(number: int, narrate: Callable[[str], None]) -> bytes:
    notice = threading.Timer(
        PATIENCE, narrate, ["reading standard input to its end; Ctrl+D or Ctrl+C ends that, --no-stdin leaves it alone"]
    )
    notice.daemon = True
    notice.start()
    data = bytearray()
    try:
        while len(data) <= LARGEST:
            try:
                piece = os.read(number, 1 << 16)
            except BlockingIOError:  # the pipe's creator made it non-blocking, but this waits
                select.select([number], [], [])
                continue
            if not piece:
                return bytes(data)
            data += piece
    finally:
        notice.cancel()
    raise ConfigError(
        "Standard input is too large",
        Sentence("It has more than {value} MB.", value=LARGEST >> 20),
        "Send a part of it, or none with --no-stdin.",
    )


def _text(data: bytes, narrate: Callable[[str], None]) -> str:
    try:
        found = decoded(data)
    except NotTextError as error:
        raise ConfigError(
            "Standard input is not text", str(error), "Send text, or leave standard input out with --no-stdin."
        ) from error
    if found.replaced:
        some = "a place that was" if found.replaced == 1 else f"{found.replaced:,} places that were"
        narrate(f"standard input has {some} not UTF-8, and became \ufffd")
    elif found.first_wrong is not None:
        narrate(f"standard input is not UTF-8; it was read as {_known_as(found)}")
    return found.text


def _known_as(found: Decoded) -> str:
    return "Windows-1252" if found.encoding == "cp1252" else found.encoding


def _is_shared(number: int) -> bool:
    """Whether the parent has the same pipe, as a shell loop does; only Linux can tell."""
    try:
        theirs, ours = Path(f"/proc/{os.getppid()}/fd/0").stat(), os.fstat(number)
    except OSError:
        return False
    return stat.S_ISFIFO(ours.st_mode) and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
