"""The log: what happened, for the user who asks why, in a file of the user's own.

It never holds anything of a chat. So nobody may hand it text that a user or a model wrote, and of an unexpected fault
it keeps where it came from and of what kind it was, but not its words: those often quote what was being worked on. A
log that cannot be written keeps nobody from chatting.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, get_args

from edgechat.errors import FaultError, StorageError
from edgechat.runtime import paths

Level = Literal["debug", "info", "warning", "error"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""From the one that tells most to the one that tells least."""

LIMIT = 512 * 1024
"""Bytes of a log file; the one before it is kept too."""

MOST_READ = 256 * 1024
"""Bytes of a log that are shown."""

_FORM = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"

log = logging.getLogger("edgechat")
log.addHandler(logging.NullHandler())  # a command that keeps no log must not print one either


def path() -> Path:
    """The log file; before it, the one whose name ends with .1."""
    return paths.log_path("edgechat")


def begin(level: Level = "info") -> None:
    """Write records of that level and above from now on. The file is opened with the first of them."""
    logging.raiseExceptions = False  # what cannot be logged must not be printed over the interface either
    log.propagate = False
    log.setLevel(level.upper())
    if not any(isinstance(handler, _File) for handler in log.handlers):
        log.addHandler(_File())


def end() -> None:
    """Close the file, and log no more."""
    for handler in list(log.handlers):
        if isinstance(handler, _File):
            log.removeHandler(handler)
            handler.close()
    log.propagate = True


class _File(logging.StreamHandler[TextIOWrapper]):
    """Appends to the log, and begins another when it is full.

    Several edgechats may write it at once: each line is one write at the end, and one that has not seen the renaming
    goes on in the old file. (`logging.handlers` costs milliseconds of the start, and makes files that others can read.)
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.path = path()
        self._file: TextIOWrapper | None = None
        self.setFormatter(logging.Formatter(_FORM, "%Y-%m-%dT%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, on one line but for a traceback."""
        try:
            text = self.format(record) + "\n"
            self._opened().write(text)
        except (OSError, ValueError, StorageError):
            self._file = None

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
        logging.Handler.close(self)

    def _opened(self) -> TextIOWrapper:
        if self._file is not None and self._file.tell() < LIMIT:
            return self._file
        if self._file is not None:
            self._file.close()
        paths.make_private(self.path.parent)
        with suppress(OSError):
            if self.path.stat().st_size >= LIMIT:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
        descriptor = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._file = open(descriptor, "a", encoding="utf-8", errors="replace", buffering=1)  # noqa: PTH123, SIM115
        return self._file


def fault(error: BaseException, doing: str) -> FaultError:
    """Log something that was not foreseen, with where it happened but without its words.

    Args:
        error: What was raised.
        doing: What was being done, as in "the interface"; never words of a user.

    Returns:
        The error to show in its place.
    """
    log.error("unexpected fault in %s\n%s", doing, "\n".join(places(error)))
    return FaultError(
        "Something went wrong in edgechat itself",
        f"{type(error).__name__} in {doing}. What was said so far is kept.",
        f"Where it happened is in the log, without anything of your chats: {path()}",
    )


def places(error: BaseException) -> Iterator[str]:
    """The traceback of an error and of what led to it, without their words."""
    import traceback  # for the day it is needed

    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        words = f": {current.strerror}" if isinstance(current, OSError) and current.strerror else ""
        yield f"  {type(current).__name__}{words}"
        for frame in traceback.extract_tb(current.__traceback__):
            yield f"    {frame.filename}:{frame.lineno} in {frame.name}"
        current = current.__cause__ or current.__context__


@dataclass(frozen=True, slots=True)
class Line:
    """One record as read back.

    Attributes:
        level: Its level; lines that belong to the record before have the level of that.
        text: The line.
    """

    level: Level
    text: str


def read(lowest: Level = "debug", file: Path | None = None) -> list[Line]:
    """The end of the log, oldest first, of records of that level and above.

    Args:
        lowest: The level.
        file: Another file; what is in it without a level counts as information.

    Raises:
        StorageError: It is there and cannot be read.
    """
    raw = b""
    file = file or path()
    for name in (file.with_name(file.name + ".1"), file):
        try:
            raw += name.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError("Log cannot be read", f"{name}: {error.strerror or error}.") from error
    cut = raw[-MOST_READ:]
    lines: list[Line] = []
    level: Level = "info"
    for text in cut.decode("utf-8", "replace").splitlines()[1 if len(raw) > MOST_READ else 0 :]:
        words = text.split(" ", 2)
        if len(words) == 3 and (named := next((one for one in LEVELS if one.upper() == words[1]), None)):
            level = named
        lines.append(Line(level, text))
    least = LEVELS.index(lowest)
    return [line for line in lines if LEVELS.index(line.level) >= least]
