"""What may be written to a terminal that draws: the sequences of Textual and edgechat, and text.

Widgets' text is made visible before it is styled, by `filters.Visible`. This is the second line behind it, for what is
written in any other way: what is not in the list below is shown, and not obeyed. Nothing here sets a clipboard, a title
or a link, or asks a terminal for anything it would answer as if it were typed.
"""

from __future__ import annotations

import re

from edgechat.chat.sanitize import CONTROLS, printable

_MODES = "(?:7|25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048)"
_ALLOWED = (
    r"\x1b\[(?:"
    r"[0-9;:]*m"  # colours
    r"|[0-9;]*[ABCDGH]"  # moves of the cursor
    rf"|\?{_MODES}[hl]"
    r"|\?(?:2026|2048)\$p"  # does it know synchronised output, and reports of its size
    r"|>[0-9]{1,3}u|<u"  # kitty's keys
    r"|8[hl]"  # who puts text in order
    r")"
    r"|\x1b\]22;[a-z-]*\x07"  # the shape of the mouse's pointer
)
_OBEYED = f"[\t{CONTROLS}]"

_allowed = re.compile(_ALLOWED)
_obeyed = re.compile(_OBEYED)
_either = re.compile(f"({_ALLOWED})|{_OBEYED}")

BELL = "\x07"


def passed(data: str) -> str:
    """What is left of a piece of output: its text, and of its sequences those that are allowed."""
    if data == BELL or _obeyed.search(_allowed.sub("", data)) is None:
        return data
    return _either.sub(lambda found: found[0] if found[1] else printable(found[0]) if found[0] != "\t" else " ", data)
