"""A real terminal for tests: the program in tmux, its keys and its screen."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pytest

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here; .ci/run installs it")

_numbers = itertools.count()


class Terminal:
    """One program in one tmux window, on a server of its own that ends with the test."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._tmux = ["tmux", "-L", f"edgechat-test-{os.getpid()}-{next(_numbers)}", "-f", "/dev/null"]
        variables = [f"{name}={value}" for name, value in {**environment, "TERM": "screen-256color"}.items()]
        size = ["-x", str(columns), "-y", str(rows)]
        # Afterwards the window says how it ended, so that a test can wait for that too.
        script = 'env -i "$@"; printf "\\nexit code %s\\n" "$?"; exec sleep 1000'
        self._run("new-session", "-d", *size, "-c", str(cwd), "sh", "-c", script, "sh", *variables, *command)

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True).stdout

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names; anything that is not a name is typed."""
        self._run("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste text as a terminal does, bracketed."""
        subprocess.run([*self._tmux, "load-buffer", "-"], input=text, text=True, check=True)
        self._run("paste-buffer", "-p")

    def screen(self) -> str:
        """What is shown now."""
        return self._run("capture-pane", "-p")

    def wait_for(self, words: str, *, seconds: float = 120) -> str:
        """Wait until the screen shows the words; give the screen."""
        return self._wait(lambda shown: words in shown, f"{words!r} did not come", seconds)

    def wait_for_the_end_of(self, words: str, *, seconds: float = 120) -> str:
        """Wait until the screen no longer shows the words; give the screen."""
        return self._wait(lambda shown: words not in shown, f"{words!r} stayed", seconds)

    def _wait(self, done: Callable[[str], bool], complaint: str, seconds: float) -> str:
        end = time.monotonic() + seconds
        while not done(shown := self.screen()):
            assert time.monotonic() < end, f"{complaint} in {seconds} s:\n{shown}"
            time.sleep(0.05)
        return shown
