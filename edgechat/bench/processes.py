"""The processes that `edgechat bench` measures, seen from the measuring process.

Each is started, queried and ended here. None of them is this process, which must not hold a model; their code is in
`bench.children` and `bench.raw_loop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from edgechat.bench.report import speed
from edgechat.engine.worker.client import ModelSource
from edgechat.errors import EngineError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths

PROMPT = "Write a very long story about a lighthouse keeper, with many chapters."


async def prompt_ids(source: ModelSource) -> list[int]:
    """Return the prompt's ids from a short-lived process, to keep the tokenizer out of this one."""
    process = await asyncio.create_subprocess_exec(
        *paths.own_command("_bench-ids", str(source.folder), PROMPT), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    ids: list[int] = json.loads(out)
    return ids


class Child:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Start the process and wait for its answer to the settings."""
        child = cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        )
        await child.ask(settings)
        return child

    async def ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Send one line and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise EngineError(
                "What was measured ended", Sentence("Its exit code was {value}.", value=await self._process.wait())
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def aclose(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class RawLoop(Child):
    """The plain loop in a separate process."""

    @classmethod
    async def load(cls, folder: Path, threads: int, context: int, *, command: Sequence[str] | None = None) -> RawLoop:
        """Load the model in the plain loop; `command` starts another edgechat for it."""
        line = [*(command or paths.own_command()), "_raw-loop"]
        return await cls.start(line, {"folder": str(folder), "threads": threads, "context": context})

    async def reply(self, prompt: list[int], tokens: int) -> float:
        """Generate one reply and return the decode speed in tokens per second."""
        answer = await self.ask({"prompt": prompt, "tokens": tokens})
        return speed(answer["tokens"], answer["decode"])


async def in_terminal(
    model_uri: str | None,
    prompt: str | None,
    tokens: int | None,
    history: Path | None = None,
    *,
    command: Sequence[str] | None = None,
    scripted: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Run an instrumented chat in a terminal; see `tui_child.BenchApp.result`.

    Args:
        model_uri: The model.
        prompt: What to send; None exits after the first paint.
        tokens: Maximum length of the reply.
        history: The history file; None for a new one.
        command: Command that starts another edgechat; None for this one.
        scripted: Open `chat` of the history, with a scripted engine whose reply has that many `words`.
    """

    def line(out: Path, new_history: Path) -> list[str]:
        task = {
            "history": str(history or new_history),
            "model_uri": model_uri,
            "prompt": prompt,
            "tokens": tokens,
            "scripted": scripted,
        }
        return [*(command or paths.own_command()), "_bench-tui", str(out), json.dumps(task)]

    return await run_in_terminal(line)


async def run_in_terminal(command: Callable[[Path, Path], list[str]]) -> dict[str, Any]:
    """Run a command in a pseudo-terminal of 100 columns and 30 rows, discarding its output."""
    import fcntl
    import pty
    import struct
    import termios

    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        out = Path(folder) / "result.json"
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            process = await asyncio.create_subprocess_exec(
                *command(out, Path(folder) / "history.db"),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
                start_new_session=True,
            )
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, _drain, ours)
            try:
                code = await process.wait()
            finally:
                loop.remove_reader(ours)
        finally:
            os.close(theirs)
            os.close(ours)
        if code != 0 or not out.exists():
            raise EngineError("The chat in a terminal failed", Sentence("Its exit code was {code}.", code=code))
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the other side has closed; the caller waits for the process to end
        os.read(descriptor, 65536)
