"""Removes private data from a text: the home folder, and the names of the user and the machine.

Reports are meant to be shown to strangers; all of their text passes through here.
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
    """Return a function that removes the home folder and the names of the user and the machine from a text."""
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
        # In a path, or as a longer word: a user may be called "a".
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
