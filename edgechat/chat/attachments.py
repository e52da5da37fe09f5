"""Text files attached to a message: found, read, and inserted into its text as fenced blocks.

Models read only text, so a file is attached as its text, with its name, in a fence longer than any inside it. Anything
that is not text is refused, and so are files too large for any context, before reading them. Nothing here writes a
file.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgechat.chat.sanitize import fenced, printable, storable
from edgechat.chat.text_encoding import NotTextError, decoded
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.regular_files import read_regular

LARGEST = 16 * 1024 * 1024
"""Maximum bytes per file: millions of tokens, more than any model here can hold."""

MOST_PATHS = 20
"""Maximum number of files in one paste."""

LONGEST_PASTE = 8192
"""Maximum characters of a paste that is checked for paths."""


class AttachmentError(EdgechatError):
    """A file cannot be attached."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file that has been read.

    Attributes:
        path: Its path.
        text: Its content.
    """

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The file's name on one line, without anything a terminal would interpret."""
        return " ".join(printable(storable(self.path.name)[0]).split())

    @property
    def block(self) -> str:
        """Return the file formatted for inclusion in a message."""
        return f"{self.name}\n{fenced(self.text.removesuffix(chr(10)))}"


def read_file(path: Path) -> Attachment:
    """Read a text file: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        AttachmentError: The file is missing, unreadable, not text, empty or far too large.
    """
    name = printable(storable(str(path))[0])
    try:
        path = path.expanduser()
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):  # a better message than `read_regular`, which checks again
            what = _("It is a folder.") if stat.S_ISDIR(kind.st_mode) else _("It is not a regular file.")
            raise AttachmentError(Sentence("Cannot attach {name}", name=name), what, "Name a text file.")
        if kind.st_size > LARGEST:
            raise AttachmentError(
                Sentence("{name} is too large", name=name),
                Sentence(
                    "It has {size} bytes; {largest} can be read.", size=f"{kind.st_size:,}", largest=f"{LARGEST:,}"
                ),
                "Attach a part of it.",
            )
        data = read_regular(path, LARGEST)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~ without a home; ValueError: NUL
        raise AttachmentError(
            Sentence("Cannot attach {name}", name=name),
            f"{getattr(error, 'strerror', None) or error}.",
            "Look whether the path is right and the file may be read.",
        ) from error
    text = _decoded(data, name)
    if not text.strip():
        raise AttachmentError(Sentence("{name} is empty", name=name), "", "Attach a file with text in it.")
    return Attachment(path, text)


def _decoded(data: bytes, name: str) -> str:
    try:
        found = decoded(data)
    except NotTextError as error:
        raise _not_text(name, str(error)) from error
    if found.first_wrong is not None:
        raise _not_text(name, _("Byte {n:,} is not UTF-8.").format(n=found.first_wrong + 1))
    return storable(found.text)[0]


def _not_text(name: str, why: str) -> AttachmentError:
    return AttachmentError(
        Sentence("{name} is not a text file", name=name),
        why,
        "Only text can be attached: UTF-8 or UTF-16. Save it as UTF-8 text first.",
    )


def too_large(name: str, tokens: int, context: int) -> AttachmentError:
    """Return the error for a file that fits in no message.

    Args:
        name: The file's name.
        tokens: Its size in tokens.
        context: Context window in tokens, including the reply.
    """
    return AttachmentError(
        Sentence("{name} is too large for the model", name=printable(name)),
        Sentence(
            "It has {tokens} tokens; the context holds {context}, the reply included.",
            tokens=f"{tokens:,}",
            context=f"{context:,}",
        ),
        "Attach a part of it, or open a model with a larger context.",
    )


def paths_in(pasted: str) -> list[Path]:
    """Return the files named by a paste, in the form terminals paste dropped files; empty for any other text.

    Each is an absolute path (quoted, or with escaped special characters) or a file URI; separated by spaces or lines.
    """
    text = pasted.strip()
    if len(text) > LONGEST_PASTE:
        return []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for words in (lines, _shell_words(text)):  # a terminal that does not quote still pastes one path per line
        if 0 < len(words) <= MOST_PATHS:
            paths = [path for word in words if (path := _path(word)) is not None]
            if len(paths) == len(words):
                return paths
    return []


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text, posix=os.name != "nt")
    except ValueError:  # an unclosed quote
        return []


def _path(word: str) -> Path | None:
    """Return the path if it is a file."""
    try:
        if word.startswith("file:"):
            word = unquote(urlsplit(word).path)
        path = Path(word).expanduser()
        return path if path.is_absolute() and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None
