"""The child process that holds the model: `edgechat _worker`.

It exists because onnxruntime-genai holds the GIL while it computes, which would freeze any event loop in the same
process. It reads commands from standard input and writes events to what was its standard output; anything a native
library prints goes to standard error, which is a log file. It ends when its input ends, so it never outlives its
parent.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from edgechat.engine import wire
from edgechat.errors import EdgechatError, EngineError

if TYPE_CHECKING:
    from edgechat.engine.genai import GenaiModel

_Send = Callable[[int, wire.Answer], None]


class Inbox:
    """Commands as they come in, read by a thread of its own.

    The thread spends its life blocked in a read with the GIL released; it gets a turn between two calls of the
    engine, which is where a stop is looked for.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._commands: queue.SimpleQueue[wire.CommandLine | None] = queue.SimpleQueue()
        self._stopped: set[int] = set()
        self.closed = threading.Event()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._source:
                command = wire.decode_command(line)
                if isinstance(command.body, wire.Stop):
                    self._stopped.add(command.id)
                else:
                    self._commands.put(command)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            sys.stderr.write(f"unreadable command: {error}\n")
        self.closed.set()
        self._commands.put(None)

    def __iter__(self) -> Iterator[wire.CommandLine]:
        return iter(self._commands.get, None)

    def stopped(self, number: int) -> bool:
        """Whether that request is to end now."""
        return number in self._stopped or self.closed.is_set()

    def forget(self, number: int) -> None:
        """That request is over."""
        self._stopped.discard(number)


def main() -> int:
    """Serve commands until standard input ends. Returns the exit code."""
    gc.enable()  # off since edgechat.__main__
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a native library prints must not mix with the events
    inbox = Inbox(os.fdopen(os.dup(0), "rb"))

    def send(number: int, body: wire.Answer) -> None:
        data = memoryview(wire.encode(wire.AnswerLine(number, body)))
        while data:
            data = data[os.write(out, data) :]

    try:
        _serve(inbox, send)
    except BrokenPipeError:
        return 0  # the parent is gone
    return 0


def _serve(inbox: Inbox, send: _Send) -> None:
    from edgechat.engine.base import Progress

    # The engine's imports take a while and are only wanted here, in the child.
    send(0, Progress("load", 0, 0))
    from edgechat.engine.genai import GenaiModel

    model: GenaiModel | None = None
    for line in inbox:
        try:
            match line.body:
                case wire.Load(folder, name, context, threads, spinning):
                    model = GenaiModel(Path(folder), name=name, context=context, threads=threads, spinning=spinning)
                    send(line.id, model.info)
                case wire.Generate(request):
                    number = line.id
                    for event in _loaded(model).generate(request, lambda n=number: inbox.stopped(n)):  # type: ignore[misc]
                        send(number, event)
                    inbox.forget(number)
                case wire.Count(messages):
                    send(line.id, wire.Counted(len(_loaded(model).encode(messages))))
                case wire.Stop():
                    pass
        except BrokenPipeError:
            raise
        except EdgechatError as error:
            send(line.id, wire.Failure.of(error))
        except Exception as error:  # the parent must hear of it; the traceback goes to the log
            import traceback

            traceback.print_exc()
            send(line.id, wire.Failure.of(EngineError("The engine failed", f"{type(error).__name__}: {error}.")))


def _loaded(model: GenaiModel | None) -> GenaiModel:
    if model is None:
        raise EngineError("No model is loaded")
    return model
