"""The log: what happened, for users who want to know why, in a private file.

It never contains chat content. Nobody may pass it text that a user or a model wrote, and of an unexpected exception it
records the location and type but not the message, which often quotes the data being processed. A log that cannot be
written must not prevent chatting.
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
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths

Level = Literal["debug", "info", "warning", "error"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""From most to least verbose."""

LIMIT = 512 * 1024
"""Maximum bytes per log file; the previous one is kept as well."""

MAX_READ = 256 * 1024
"""Bytes at the end of a log that are shown."""

_FORM = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"

log = logging.getLogger("edgechat")
log.addHandler(logging.NullHandler())  # keeps commands that do not log from printing records


def path() -> Path:
    """Return the log file; its predecessor has the same name ending in .1."""
    return paths.log_path("edgechat")


def start(level: Level = "info") -> None:
    """Write records of this level and above from now on. The first record opens the file."""
    logging.raiseExceptions = False  # logging errors must not be printed over the interface
    log.propagate = False
    log.setLevel(level.upper())
    if not any(isinstance(handler, _File) for handler in log.handlers):
        log.addHandler(_File())


def stop() -> None:
    """Close the file and stop logging."""
    for handler in list(log.handlers):
        if isinstance(handler, _File):
            log.removeHandler(handler)
            handler.close()
    log.propagate = True


class _File(logging.StreamHandler[TextIOWrapper]):
    """Appends to the log and rotates it when it is full.

    Several edgechat processes may write at once: each line is one appending write, and a process that has not noticed
    the rotation continues in the old file. (`logging.handlers` adds milliseconds to startup and creates files others
    can read.)
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.path = path()
        self._file: TextIOWrapper | None = None
        self.setFormatter(logging.Formatter(_FORM, "%Y-%m-%dT%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record on a single line, plus any traceback."""
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
    """Log an unexpected exception with its location but without its message.

    Args:
        error: The exception.
        doing: What was running, such as "the interface"; never a user's text.

    Returns:
        The error to show instead.
    """
    log.error("unexpected fault in %s\n%s", doing, "\n".join(places(error)))
    return FaultError(
        "Something went wrong in edgechat itself",
        Sentence("{name} in {doing}. What was said so far is kept.", name=type(error).__name__, doing=doing),
        Sentence("Where it happened is in the log, without anything of your chats: {path}", path=path()),
    )


def places(error: BaseException) -> Iterator[str]:
    """Yield the traceback of an exception and its causes, without messages."""
    import traceback  # rarely needed

    visited: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        words = f": {current.strerror}" if isinstance(current, OSError) and current.strerror else ""
        yield f"  {type(current).__name__}{words}"
        for frame in traceback.extract_tb(current.__traceback__):
            yield f"    {frame.filename}:{frame.lineno} in {frame.name}"
        current = current.__cause__ or current.__context__


@dataclass(frozen=True, slots=True)
class Line:
    """One line read back from the log.

    Attributes:
        level: Its level; continuation lines have their record's.
        text: The line.
    """

    level: Level
    text: str


def read(lowest: Level = "debug", file: Path | None = None) -> list[Line]:
    """Read the end of the log, oldest first, limited to records of this level and above.

    Args:
        lowest: The lowest level to include.
        file: Another file; lines without a level count as "info".

    Raises:
        StorageError: The file exists but cannot be read.
    """
    raw = b""
    file = file or path()
    for name in (file.with_name(file.name + ".1"), file):
        try:
            raw += name.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                "Log cannot be read", Sentence("{name}: {strerror}.", name=name, strerror=error.strerror or error)
            ) from error
    cut = raw[-MAX_READ:]
    lines: list[Line] = []
    level: Level = "info"
    for text in cut.decode("utf-8", "replace").splitlines()[1 if len(raw) > MAX_READ else 0 :]:
        words = text.split(" ", 2)
        if len(words) == 3 and (named := next((one for one in LEVELS if one.upper() == words[1]), None)):
            level = named
        lines.append(Line(level, text))
    least = LEVELS.index(lowest)
    return [line for line in lines if LEVELS.index(line.level) >= least]
