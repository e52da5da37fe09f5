"""The system's clipboard, through pyperclip, in a process of its own, and read back before anyone says it was copied.

The tools behind pyperclip fail in silence, write to the terminal, and may wait for ever for a display that does not
answer. In a process of its own they can do neither harm, and the exit code says what came of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

from edgechat.errors import EdgechatError
from edgechat.runtime.paths import own_command

PATIENCE = 5.0
"""Seconds that a clipboard may take."""


async def copied(text: str) -> bool:
    """Put a text into the system's clipboard. Returns whether it is there; it may take some seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *own_command("_copy"), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except (OSError, EdgechatError):
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode("utf-8", "replace")), PATIENCE)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            _kill(process.pid)
            await process.wait()
    return process.returncode == 0


def _kill(process: int) -> None:
    """End the process and the tool that it waits for."""
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(process, signal.SIGTERM)
        else:
            os.killpg(process, signal.SIGKILL)


def main() -> int:
    """Copy standard input. Returns 0 if it can be pasted then."""
    import pyperclip

    text = sys.stdin.buffer.read().decode()
    try:
        pyperclip.copy(text)
        pasted = pyperclip.paste()
    except (pyperclip.PyperclipException, OSError, ValueError):
        return 1
    return 0 if _lines(pasted) == _lines(text) else 1


def _lines(text: str) -> list[str]:
    """A text without what systems change of it: the ends of its lines, and one at its end."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")
