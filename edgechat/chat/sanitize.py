"""Makes text from a keyboard, a pipe or a model safe to store, send and show.

`storable` repairs what UTF-8 cannot represent; `printable` removes what a terminal would interpret; `fenced` marks off
a text that is not part of what quotes it.
"""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# All C0 and C1 controls except tab and newline, and the Unicode controls that reorder text beyond their own line.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""What a terminal interprets, as a regular expression set."""

_OBEYED = re.compile(f"[{CONTROLS}]")
_DRAWN_OBEYED = re.compile(f"[\t\n{CONTROLS}]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPES = re.compile(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]"  # colours, cursor movement, modes
    "|\\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\\\)"  # titles and links
    "|[()][0-9A-B]|[=>78])"  # charsets, keypad, cursor save
)


def storable(text: str) -> tuple[str, int]:
    """Replace NUL and lone surrogates with U+FFFD, and foreign line endings with newlines.

    Returns:
        The text, and the number of characters replaced with U+FFFD (not counting line endings).
    """
    return _UNSTORABLE.subn("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def printable(text: str) -> str:
    """Make visible, or drop, each character a terminal would interpret.

    ESC and the other C0 controls become their Unicode pictures (U+241B for ESC), so that an escape sequence is
    recognisable; C1 controls and bidirectional overrides, which have no pictures, become U+FFFD.
    """
    return _OBEYED.sub(_visible, text)


def one_line(value: object, limit: int = 120) -> str:
    """Format a value on one line, without anything a terminal would interpret, truncated to `limit` characters."""
    text = value if isinstance(value, str) else str(value)
    # Truncate first: a hostile value can be as large as its file.
    short = " ".join(printable(storable(text[: 4 * limit])[0]).split())
    return short if len(short) <= limit and len(text) <= 4 * limit else short[: limit - 1] + "…"


def has_controls(text: str) -> bool:
    """Whether a text contains anything a terminal would interpret, including line endings and tabs."""
    return _DRAWN_OBEYED.search(text) is not None


def shown(text: str) -> str:
    """Make part of a line drawable: like `printable`, with line endings and tabs as spaces."""
    return printable(text).replace("\t", " ").replace("\n", " ")


def without_controls(text: str) -> str:
    """Clean up text from a terminal's paste or another program's output.

    Escape sequences, such as colours in a log, are removed; other controls become visible, as in `printable`. Foreign
    line endings become newlines.
    """
    plain = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub(_visible, plain)


def fenced(text: str, language: str = "") -> str:
    """Format text as a Markdown code block, in a fence longer than any inside it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
