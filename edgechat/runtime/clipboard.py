"""The system clipboard, through pyperclip in a separate process, read back before reporting success.

The tools behind pyperclip fail silently, write to the terminal, and may wait forever for a display that does not
answer. In a separate process they can do no harm, and the exit code tells the result.
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

TIMEOUT = 5.0
"""Seconds to wait for a clipboard."""


async def copy(text: str) -> bool:
    """Copy text to the system clipboard and return whether it arrived; may take several seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *own_command("_copy"), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except (OSError, EdgechatError):
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode("utf-8", "replace")), TIMEOUT)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            _kill(process.pid)
            await process.wait()
    return process.returncode == 0


def _kill(process: int) -> None:
    """Kill the process and the tool it is waiting for."""
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(process, signal.SIGTERM)
        else:
            os.killpg(process, signal.SIGKILL)


def main() -> int:
    """Copy standard input. Returns 0 if it can be pasted afterwards."""
    import pyperclip

    text = sys.stdin.buffer.read().decode()
    try:
        pyperclip.copy(text)
        pasted = pyperclip.paste()
    except (pyperclip.PyperclipException, OSError, ValueError):
        return 1
    return 0 if _lines(pasted) == _lines(text) else 1


def _lines(text: str) -> list[str]:
    """Normalise what systems change in a text: line endings, and one at the end."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")
