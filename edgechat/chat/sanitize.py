"""Text as it arrives from a keyboard, a pipe or a model, made fit to store, to send and to show.

Different jobs: `storable` mends what UTF-8 cannot hold; `printable` takes away what a terminal would obey; `fenced`
puts a border round a text that is not to be read as words of whoever quotes it.
"""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# All C0 and C1 controls but tab and newline, and the Unicode controls that reorder text beyond their own line.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""What a terminal obeys, as a set of a regular expression."""

_OBEYED = re.compile(f"[{CONTROLS}]")
_DRAWN_OBEYED = re.compile(f"[\t\n{CONTROLS}]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPES = re.compile(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]"  # colours, movements, modes
    "|\\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\\\)"  # titles and links
    "|[()][0-9A-B]|[=>78])"  # charsets, keypads, places
)


def storable(text: str) -> tuple[str, int]:
    """Replace NUL and lone surrogates by U+FFFD, and line ends of other systems by newlines.

    Returns:
        The text, and how many characters were replaced by U+FFFD (line ends do not count).
    """
    return _UNSTORABLE.subn("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def printable(text: str) -> str:
    """The text with each character a terminal would obey made visible or dropped.

    ESC and the other C0 controls become their Unicode pictures (U+241B for ESC), so that an escape sequence is seen as
    what it is; the C1 controls and the bidirectional overrides, which have no pictures, become U+FFFD.
    """
    return _OBEYED.sub(_visible, text)


def one_line(value: object, limit: int = 120) -> str:
    """The value on one line, without anything a terminal would obey, cut to `limit` characters."""
    text = value if isinstance(value, str) else str(value)
    # Cut before the work: a hostile value can be as large as its file.
    short = " ".join(printable(storable(text[: 4 * limit])[0]).split())
    return short if len(short) <= limit and len(text) <= 4 * limit else short[: limit - 1] + "…"


def is_obeyed(text: str) -> bool:
    """Whether there is anything in a text that a terminal would obey, the ends of lines and tabs included."""
    return _DRAWN_OBEYED.search(text) is not None


def shown(text: str) -> str:
    """A part of a line as it can be drawn: as `printable`, and a space for what ends a line or goes on in it."""
    return printable(text).replace("\t", " ").replace("\n", " ")


def without_controls(text: str) -> str:
    """Text from a terminal's paste or another program's output as a person meant it.

    Escape sequences, as of the colours of a log, are left out; other controls become visible, as in `printable`. Line
    ends of other systems become newlines.
    """
    plain = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub(_visible, plain)


def fenced(text: str, language: str = "") -> str:
    """Text as a block of Markdown, in a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
