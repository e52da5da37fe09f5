"""What is nobody's business: the names of the home folder, the user and the machine, taken out of a text.

A report is made to be shown to strangers; every word of it goes through here.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def hider() -> Callable[[str], str]:
    """What takes the home folder and the names of the user and the machine out of a text."""
    changes: list[tuple[re.Pattern[str], str]] = []
    homes = {os.environ.get("HOME", ""), os.environ.get("USERPROFILE", "")}
    with suppress(RuntimeError):
        homes.add(str(Path.home()))
    for home in sorted(filter(lambda one: len(one) > 1, homes), key=len, reverse=True):
        changes.append((re.compile(re.escape(home) + r"(?![\w.-])"), "~"))
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    with suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    for name in filter(None, names):
        # In a path, or as a word of some length: a user may be called "a".
        word = rf"(?<=[/\\]){re.escape(name)}(?![\w-])" + (rf"|\b{re.escape(name)}\b" if len(name) > 4 else "")
        changes.append((re.compile(word), "USER"))
    host = platform.node()
    if len(host) > 1 and host not in ("localhost", "edgechat"):
        changes.append((re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w-])"), "HOST"))

    def hide(text: str) -> str:
        for pattern, word in changes:
            text = pattern.sub(word, text)
        return text

    return hide
