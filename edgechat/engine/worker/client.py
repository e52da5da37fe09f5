"""The asyncio side of the worker: starts it, streams from it, stops it, and restarts it after it dies.

Nothing here blocks the event loop or computes, and the engine's libraries are never imported in this process. However a
worker ends, the caller gets an EngineError with a readable message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.fingerprint import Fingerprint
from edgechat.engine.protocol import (
    Event,
    Finished,
    Kind,
    ModelInfo,
    Progress,
    ProgressCallback,
    Prompt,
    Request,
    StoppedError,
    TextDelta,
    Timings,
    Usage,
)
from edgechat.engine.worker import failures, launch, protocol
from edgechat.errors import EdgechatError, EngineError
from edgechat.runtime import logs, paths

_Answer = TypeVar("_Answer", bound=protocol.Answer)
ModelLocator = Callable[[ProgressCallback], Awaitable["ModelSource"]]
"""Finds the model when it is first needed, installing it if necessary."""

GRACE_SECONDS = 1.5
"""Seconds a stopped operation has to end before the worker is killed: a user waits at most three seconds."""

LAST_GRACE_SECONDS = 2.4
"""The same if the worker reports its steps and the next one is due by then."""

END_SECONDS = 1.0
"""Seconds a worker has to exit once it is no longer needed."""

LOAD_SECONDS = 300.0
"""Base time limit for loading in seconds, and a third of that for a step of a reply; the model's size adds to both. It
guards against hanging forever: slow devices get all the time they need, and a user can press Esc."""

SLOWEST_BYTES = 1_000_000
"""Bytes per second that even the slowest device can read and compute with."""


class ModelSource(msgspec.Struct, frozen=True):
    """Which model to load.

    Attributes:
        folder: What the engine opens.
        name: Display name.
        kind: The library that runs it.
        root: The folder of the whole model if `folder` is only part of it.
    """

    folder: Path
    name: str
    kind: Kind = "genai"
    root: Path | None = None


class EngineOptions(msgspec.Struct, frozen=True):
    """How to load a model; see `worker.protocol.Load`.

    Attributes:
        load_seconds: Time limit for loading; None derives it from the model's size.
        step_seconds: Maximum silence during a reply; None derives it from the model's size.
    """

    context: int | None = None
    threads: int | None = None
    spinning: bool = True
    cache_bytes: int | None = None
    load_seconds: float | None = None
    step_seconds: float | None = None


class EngineClient:
    """An `Engine` in a child process."""

    def __init__(self, source: ModelSource | ModelLocator, options: EngineOptions | None = None) -> None:
        """Set up without starting anything; `start` and `stream` do that.

        Args:
            source: The model, or a function that finds it.
            options: How to load it.
        """
        self._source = source
        self._options = options or EngineOptions()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[ModelInfo] | None = None
        self._listeners: list[ProgressCallback] = []
        self._queues: dict[int, asyncio.Queue[protocol.Answer | EdgechatError]] = {}
        self._number = 0
        self._kill_timers: dict[int, asyncio.TimerHandle] = {}
        self._ended: dict[int, EdgechatError] = {}
        self._last_heard = self._step = 0.0
        self._step_seconds = 0.0
        self._turn = asyncio.Lock()
        self._info: ModelInfo | None = None
        self._closed = False

    @property
    def info(self) -> ModelInfo | None:
        """The model's properties; None until it is loaded."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The worker's process id while it is alive; for measuring and for tests."""
        return self._process.pid if self._process is not None else None

    async def start(self, on_progress: ProgressCallback | None = None) -> ModelInfo:
        """Start the worker and load the model; see `Engine.start`."""
        if self._info is not None:
            return self._info
        if self._closed:
            raise EngineError("The engine is closed")
        if on_progress is not None:
            self._listeners.append(on_progress)
        try:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._start(), name="engine-start")
            # Shielded: one caller giving up must not cancel the load others are waiting for.
            return await asyncio.shield(self._starting)
        finally:
            if on_progress is not None:
                self._listeners.remove(on_progress)

    def _report_progress(self, progress: Progress) -> None:
        for listener in tuple(self._listeners):
            listener(progress)

    async def _start(self) -> ModelInfo:
        source = self._source
        if not isinstance(source, ModelSource):
            source = await source(self._report_progress)
        if source.kind == "transformers":
            launch.require_transformers(source.name)
        self._report_progress(Progress("load", 0, 0))
        await self._end()
        log = launch.open_log()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *paths.own_command("_worker", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=protocol.LINE_LIMIT,
                env=launch.environment(source.kind),
                # Ctrl+C in the terminal reaches the whole foreground group; replies are stopped by a message instead.
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise EngineError("The model process cannot be started", f"{error.strerror or error}.") from error
        finally:
            log.close()
        logs.log.info("model process %d started", self._process.pid)
        self._reader = asyncio.create_task(self._read(self._process), name="engine-reader")
        options = self._options
        load = protocol.Load(
            str(source.folder),
            source.name,
            options.context,
            options.threads,
            options.spinning,
            source.kind,
            options.cache_bytes,
            str(source.root or ""),
        )
        size = await asyncio.to_thread(launch.size_of, source.root or source.folder)
        most = options.load_seconds or LOAD_SECONDS + size / SLOWEST_BYTES
        self._step_seconds = options.step_seconds or 3 * LOAD_SECONDS + size / SLOWEST_BYTES
        number, answers = self._open()
        try:
            await self._write(number, load)
            while True:
                answer = await self._next(answers, most)
                if isinstance(answer, ModelInfo):
                    self._info = answer
                    logs.log.info(
                        "model loaded: %s, %s, %d tokens of context, %d threads, %.1f s, confined by: %s",
                        answer.name,
                        answer.architecture,
                        answer.context,
                        answer.threads,
                        answer.load_seconds,
                        answer.confinement or "nothing",
                    )
                    return answer
        except BaseException:
            await self._end()
            raise
        finally:
            self._close(number)

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one reply; see `Engine.stream`."""
        await self.start()
        async with self._turn:
            number, answers = self._open()
            finished = False
            try:
                await self._write(number, protocol.Generate(request))
                while not finished:
                    answer = await self._next(answers)
                    finished = isinstance(answer, Finished)
                    if isinstance(answer, TextDelta | Progress | Finished):
                        yield answer
            except StoppedError:
                finished = True
                yield Finished("cancelled", Usage(0, 0, 0), Timings(0.0, 0.0, 0.0))
            except EdgechatError:  # whatever its kind, it is the worker's last answer
                finished = True
                raise
            finally:
                try:
                    if not finished:
                        await self._drain(number, answers)
                finally:
                    self._close(number)

    async def _drain(self, number: int, answers: asyncio.Queue[protocol.Answer | EdgechatError]) -> None:
        """End a reply whose consumer went away, so that the next one finds the worker idle."""
        try:
            with contextlib.suppress(EdgechatError):
                await self._stop(number)
                while not isinstance(await self._next(answers), Finished):
                    pass
        except asyncio.CancelledError:  # nobody is waiting for a clean end any more
            self._kill(failures.stopped_error())
            raise

    async def count(self, messages: tuple[Message, ...]) -> int:
        """Count the tokens of a prompt; see `Engine.count`."""
        return (await self._query(protocol.Count(messages), protocol.Counted)).tokens

    async def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """Return a prompt as it would be sent; see `Engine.prompt`."""
        return await self._query(protocol.ShowPrompt(messages), Prompt)

    async def prefill(self, messages: tuple[Message, ...], top_k: int | None = None) -> int:
        """Compute the next prompt ahead of time; see `Engine.prefill`."""
        return (await self._query(protocol.Prefill(messages, top_k), protocol.Prefilled)).tokens

    async def fingerprint(self, reference: Fingerprint | None = None) -> Fingerprint:
        """Take the model's fingerprint; see `LoadedModel.fingerprint`."""
        return await self._query(protocol.TakeFingerprint(reference), Fingerprint)

    async def _query(self, command: protocol.Command, kind: type[_Answer]) -> _Answer:
        """Return the single answer to a command; cancelling the wait also stops the worker."""
        await self.start()
        number, answers = self._open()
        try:
            await self._write(number, command)
            while True:
                answer = await self._next(answers)
                if isinstance(answer, kind):
                    return answer
        except asyncio.CancelledError:
            with contextlib.suppress(EngineError):
                await self._write(number, protocol.Stop())
            raise
        finally:
            self._close(number)

    async def stop(self) -> None:
        """Stop the current reply or load; see `Engine.stop`."""
        for number in tuple(self._queues):
            with contextlib.suppress(EngineError):  # a dead worker has stopped
                await self._stop(number)

    async def _stop(self, number: int) -> None:
        """Ask the worker to stop that request, and kill it if it does not."""
        if number not in self._kill_timers:
            loop = asyncio.get_running_loop()
            last = loop.time() + LAST_GRACE_SECONDS
            self._kill_timers[number] = loop.call_later(GRACE_SECONDS, self._give_up, number, last)
        await self._write(number, protocol.Stop())

    def _give_up(self, number: int, last: float) -> None:
        """Kill the worker, unless its steps are slow and the current one is due in time."""
        if number not in self._queues:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._last_heard + 1.5 * self._step <= last:
            self._kill_timers[number] = loop.call_at(last, self._give_up, number, 0.0)
        else:
            self._kill(failures.stopped_error())

    def _kill(self, reason: EdgechatError) -> None:
        """Kill the worker at once; everyone waiting for it gets `reason`."""
        process = self._process
        if process is not None and process.returncode is None:
            self._ended[process.pid] = reason
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def aclose(self) -> None:
        """Shut the worker down."""
        self._closed = True
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, EdgechatError):
                await self._starting
        await self._end()

    def _open(self) -> tuple[int, asyncio.Queue[protocol.Answer | EdgechatError]]:
        self._number += 1
        answers: asyncio.Queue[protocol.Answer | EdgechatError] = asyncio.Queue()
        self._queues[self._number] = answers
        self._last_heard = asyncio.get_running_loop().time()
        return self._number, answers

    def _close(self, number: int) -> None:
        del self._queues[number]
        if (grace := self._kill_timers.pop(number, None)) is not None:
            grace.cancel()

    async def _next(
        self, answers: asyncio.Queue[protocol.Answer | EdgechatError], load_seconds: float | None = None
    ) -> protocol.Answer:
        """Return the next answer; kill a worker that has been silent for too long."""
        clock = asyncio.get_running_loop().time
        most = load_seconds or self._step_seconds
        while True:
            try:
                async with asyncio.timeout_at(self._last_heard + most):
                    answer = await answers.get()
                break
            except TimeoutError:
                if clock() - self._last_heard >= most:
                    self._kill(failures.timeout_error(most, loading=load_seconds is not None))
                    answer = await answers.get()
                    break
        if isinstance(answer, protocol.Failure):
            raise answer.error()
        if isinstance(answer, EdgechatError):
            raise answer
        return answer

    async def _write(self, number: int, body: protocol.Command) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise EngineError("The model process is not running")
        try:
            process.stdin.write(protocol.encode(protocol.CommandLine(number, body)))
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader notices that the process ended and reports why

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        failure: EdgechatError | None = None
        try:
            while line := await process.stdout.readline():
                answer = protocol.decode_answer(line)
                now = asyncio.get_running_loop().time()
                self._step, self._last_heard = now - self._last_heard, now
                if answer.id in self._queues:
                    self._queues[answer.id].put_nowait(answer.body)
                elif isinstance(answer.body, Progress):
                    self._report_progress(answer.body)
        except (ValueError, msgspec.DecodeError) as error:
            failure = EngineError("The model process sent something unreadable", f"{error}.", failures.log_hint())
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
        reason = failure or self._ended.pop(process.pid, None) or failures.exit_error(code, loading=self._info is None)
        if self._process is process:
            self._process = None
            self._info = None
            logs.log.error("the model process %d ended: %s %s", process.pid, reason.title, reason.message)
        for answers in self._queues.values():
            answers.put_nowait(reason)

    async def _end(self) -> None:
        """End the worker if there is one, politely at first."""
        process, reader = self._process, self._reader
        self._process = self._reader = self._info = None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        except asyncio.CancelledError:  # nothing else would kill it later
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        if reader is not None and reader is not asyncio.current_task():
            await reader
