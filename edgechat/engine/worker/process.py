"""The child process that holds the model: `edgechat _worker`.

It exists because onnxruntime-genai holds the GIL while computing, which would freeze any event loop in the same
process. It reads commands from standard input and writes events to its original standard output; whatever a native
library prints goes to standard error, which is a log file. It exits when its input ends, and with its parent, even
while computing. It loads a single model, and before opening it gives up every permission that model does not need.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgechat.engine import resources
from edgechat.engine.protocol import Progress, Request, TextDelta
from edgechat.engine.worker import protocol
from edgechat.errors import EdgechatError, EngineError, ModelError, is_panic
from edgechat.runtime import memory_limit, parent_watch, sandbox

if TYPE_CHECKING:
    from edgechat.engine.protocol import LoadedModel

_Send = Callable[[int, protocol.Answer], None]


BATCH_SECONDS = 0.04
"""Seconds. Each line wakes the other process, which briefly takes a core from the computation: at a hundred tokens per
second that cost 5% of the speed. Forty milliseconds are not noticeable, and the first token never waits."""


PULSE_SECONDS = 5.0
"""Seconds between heartbeats during a computation that sends nothing else."""


class Inbox:
    """Reads commands without a thread: it polls for input between two calls of the engine.

    Polling takes a microsecond; a thread would have to wait for the GIL, which the engine holds while computing.
    """

    def __init__(self, descriptor: int, pulse: Callable[[], None] = lambda: None) -> None:
        """Set up without reading anything.

        Args:
            descriptor: File descriptor to read commands from.
            pulse: Called whenever a computation checks whether to stop, which is after each step.
        """
        self._pulse = pulse
        self._descriptor = descriptor
        self._rest = b""
        self._commands: deque[protocol.CommandLine] = deque()
        self._stopped: set[int] = set()
        self._closed = False

    def __iter__(self) -> Iterator[protocol.CommandLine]:
        """Yield commands, waiting for them until the other end is closed."""
        while True:
            while self._commands:
                yield self._commands.popleft()
            if self._closed:
                return
            self._read()

    def stopped(self, number: int) -> bool:
        """Whether that request should stop now."""
        self._pulse()
        self._poll()
        return self._closed or number in self._stopped

    def take(self, *kinds: type[protocol.Command]) -> protocol.CommandLine | None:
        """Return the next command if it has arrived and is of one of these kinds; the order is preserved."""
        self._poll()
        if self._commands and isinstance(self._commands[0].body, kinds):
            return self._commands.popleft()
        return None

    @property
    def waiting(self) -> bool:
        """Whether a command has arrived."""
        self._poll()
        return bool(self._commands)

    def _poll(self) -> None:
        while not self._closed and _readable(self._descriptor):
            self._read()

    def forget(self, number: int) -> None:
        """Discard the stop flag of a finished request."""
        self._stopped.discard(number)

    def _read(self) -> None:
        data = os.read(self._descriptor, 65536)
        self._closed = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                command = protocol.decode_command(line)
            except msgspec.DecodeError as error:
                # The sender would wait forever; exiting is the answer.
                sys.stderr.write(f"unreadable command: {error}\n")
                raise SystemExit(2) from error
            if isinstance(command.body, protocol.Stop):
                self._stopped.add(command.id)
            else:
                self._commands.append(command)


def _readable(descriptor: int) -> bool:
    """Whether a read would return immediately."""
    if os.name == "posix":
        return bool(select.select([descriptor], [], [], 0)[0])
    # select supports only sockets there; a pipe can be asked how much it holds, which fails if it is closed.
    import ctypes
    import msvcrt

    available = ctypes.c_ulong(0)
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))  # type: ignore[attr-defined,unused-ignore]
    succeeded = ctypes.windll.kernel32.PeekNamedPipe(  # type: ignore[attr-defined,unused-ignore]
        handle, None, 0, None, ctypes.byref(available), None
    )
    return not succeeded or available.value > 0


def main(started_by: str = "") -> int:
    """Serve commands until standard input ends.

    Args:
        started_by: Process id of the parent; this process ends when it does.

    Returns:
        The exit code.
    """
    if started_by:
        parent_watch.end_with(int(started_by))
    gc.enable()  # disabled in edgechat.__main__
    faulthandler.enable()  # reports where native code crashed, without any of the data
    out = os.dup(1)
    os.dup2(2, 1)  # keep native libraries' output from mixing with the events
    last_sent = 0.0

    def send(number: int, body: protocol.Answer) -> None:
        nonlocal last_sent
        last_sent = time.perf_counter()
        data = memoryview(protocol.encode(protocol.AnswerLine(number, body)))
        while data:
            data = data[os.write(out, data) :]

    def pulse() -> None:
        if time.perf_counter() - last_sent > PULSE_SECONDS:
            send(0, protocol.Alive())

    try:
        _serve(Inbox(0, pulse), send)
    except BrokenPipeError:
        return 0  # the parent is gone
    return 0


def _serve(inbox: Inbox, send: _Send) -> None:
    send(0, Progress("load", 0, 0))
    model: LoadedModel | None = None
    for line in inbox:
        with _reporting_errors(line.id, send):
            if isinstance(line.body, protocol.Load):
                make = _loader(line.body)
                memory_limit.bound_memory(resources.available_memory(), Path(line.body.folder))
                confinement = _confine(line.body)
                model = make()
                send(line.id, msgspec.structs.replace(model.info, confinement=str(confinement)))
            else:
                _execute(_loaded(model), line, inbox, send)


def _execute(model: LoadedModel, line: protocol.CommandLine, inbox: Inbox, send: _Send) -> None:
    match line.body:
        case protocol.Generate(request):
            _reply(model, request, line.id, inbox, send)
        case protocol.Prefill() as prefill:
            _prefill(model, prefill, line.id, inbox, send)
        case protocol.Count(messages):
            send(line.id, protocol.Counted(len(model.encode(messages))))
        case protocol.ShowPrompt(messages):
            send(line.id, model.prompt(messages))
        case protocol.TakeFingerprint(reference):
            send(line.id, model.fingerprint(reference))


@contextlib.contextmanager
def _reporting_errors(number: int, send: _Send) -> Iterator[None]:
    """Send any exception as the answer."""
    try:
        yield
    except BrokenPipeError:
        raise
    except EdgechatError as error:
        send(number, protocol.Failure.of(error))
    except BaseException as error:  # the parent must learn of it; the traceback goes to the log
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        import traceback

        traceback.print_exc()
        send(number, protocol.Failure.of(_wrap_unexpected(error)))


def _wrap_unexpected(error: BaseException) -> EdgechatError:
    """Wrap an unexpected exception. A library in an unusual place can no longer be found inside the sandbox."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, PermissionError | ImportError):
        return ModelError("The model cannot read what it needs", f"{text}.", _OUTSIDE)
    return EngineError("The engine failed", f"{text}.")


_OUTSIDE = (
    "The process that holds a model may read that model's folder and the libraries of edgechat, and nothing else: put "
    "what it needs into the folder. `edgechat doctor` tells of this confinement."
)


def _loader(load: protocol.Load) -> Callable[[], LoadedModel]:
    """Return a function that loads the model, after importing its libraries, none of which has seen the model yet.

    A sandboxed process could not store the compiled bytecode and would recompile it every time.
    """
    _import_numpy()
    # The engine's imports are slow and only needed here, in the child.
    if load.kind == "transformers":
        from edgechat.engine.transformers import HfModel

        return lambda: HfModel(Path(load.folder), name=load.name, context=load.context, threads=load.threads)
    from edgechat.engine.genai import GenaiModel

    return lambda: GenaiModel(
        Path(load.folder),
        name=load.name,
        context=load.context,
        threads=load.threads,
        spinning=load.spinning,
        cache_bytes=load.cache_bytes,
    )


def _import_numpy() -> None:
    """Import numpy without letting its OpenBLAS start threads, which would escape the sandbox."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    import numpy  # noqa: F401

    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before


def _confine(load: protocol.Load) -> sandbox.Confinement:
    """Give up access to everything but the model's folder and the libraries; log what the system could not restrict."""
    folder = Path(load.folder)
    readable = [folder.resolve(), Path(load.root or load.folder).resolve()]
    if load.kind == "transformers":  # the layout MLflow uses
        readable.append((folder.parent / "components" / "tokenizer").resolve())
    confinement = sandbox.confine(readable)
    sys.stderr.write(f"confined by: {str(confinement) or 'nothing'}\n")
    for reason in confinement.missing:
        sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    return confinement


def _reply(model: LoadedModel, request: Request, number: int, inbox: Inbox, send: _Send) -> None:
    """Generate one reply, joining its text into one line per BATCH_SECONDS when tokens come faster."""
    waiting: list[str] = []
    sent = 0.0

    def flush() -> None:
        if waiting:
            send(number, TextDelta("".join(waiting)))
            waiting.clear()

    try:
        for event in model.generate(request, lambda: inbox.stopped(number)):
            if isinstance(event, TextDelta):
                waiting.append(event.text)
                now = time.perf_counter()
                if now - sent >= BATCH_SECONDS:
                    sent = now
                    flush()
            else:
                flush()
                send(number, event)
    finally:
        flush()  # text from before a failure still counts
        inbox.forget(number)


def _prefill(model: LoadedModel, prefill: protocol.Prefill, number: int, inbox: Inbox, send: _Send) -> None:
    """Compute ahead until another command arrives; no command waits longer than one chunk."""

    def interrupted() -> bool:
        while (line := inbox.take(protocol.Count, protocol.ShowPrompt)) is not None:
            with _reporting_errors(line.id, send):
                _execute(model, line, inbox, send)
        return inbox.stopped(number) or inbox.waiting

    try:
        computed = model.prefill(prefill.messages, interrupted, prefill.top_k)
        send(number, protocol.Prefilled(max(computed, default=0)))
    finally:
        inbox.forget(number)


def _loaded(model: LoadedModel | None) -> LoadedModel:
    if model is None:
        raise EngineError("No model is loaded")
    return model
