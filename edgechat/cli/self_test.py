"""`edgechat --self-test`: checks that everything works on this device, and prints one line of JSON.

It is meant for someone who has installed edgechat on a hundred devices and checks the exit codes. It uses what a chat
uses: the settings, the model, the worker, a history file. It leaves nothing behind, and no chat in the user's history.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from edgechat.chat.conversation import Message
from edgechat.cli.build_info import version_text
from edgechat.engine import fingerprint
from edgechat.engine.protocol import Progress, Request, Sampling, TextDelta
from edgechat.engine.reference_fingerprints import reference_of
from edgechat.engine.worker.client import EngineClient, ModelSource
from edgechat.errors import EdgechatError, EngineError, ExitCode, StorageError
from edgechat.history.store import HistoryStore
from edgechat.i18n.sentence import Sentence
from edgechat.models.mlmodel_file import MLMODEL, read_mlmodel
from edgechat.runtime import paths
from edgechat.runtime.opt_outs import OPT_OUTS
from edgechat.session.factory import engine_for, locate
from edgechat.session.session import Session, TurnClosed
from edgechat.settings.loader import load_config
from edgechat.settings.schema import Config

QUESTION = "What is the capital of France?"
TOKENS = 32


def self_test(model_uri: str | None, *, history: bool | None = None) -> int:
    """Run the test and print its result.

    Args:
        model_uri: The model from the command line.
        history: Whether to store the chat, if the command line says so.

    Returns:
        0, or the exit code of what failed; see `errors.ExitCode`.
    """
    began = time.perf_counter()
    result: dict[str, Any] = {
        "ok": False,
        "version": version_text(),
        "packaged": bool(getattr(sys, "frozen", False)),
        "platform": f"{platform.system()} {platform.machine()}",
        "step": "settings",
    }
    code = ExitCode.OK
    try:
        asyncio.run(_run(model_uri, history, result))
        result["ok"] = True
        del result["step"]
    except EdgechatError as error:
        code = error.exit_code
        result["error"] = {"title": error.title, "message": error.message, "hint": error.hint}
    except Exception as error:  # the caller reads one line of JSON, not a traceback
        code = ExitCode.ERROR
        result["error"] = {"title": type(error).__name__, "message": str(error), "hint": ""}
    result["seconds"] = round(time.perf_counter() - began, 2)
    sys.stdout.write(json.dumps(result) + "\n")
    return int(code)


async def _run(model_uri: str | None, history: bool | None, result: dict[str, Any]) -> None:
    config = load_config(model_uri=model_uri, history=history)
    result["step"] = "model"
    source = await locate(config.model_uri)(lambda progress: None)
    size = sum(file.stat().st_size for file in source.folder.iterdir() if file.is_file())
    result["model"] = {"name": source.name, "folder": str(source.folder), "bytes": size}
    result["step"] = "history"
    file = paths.data_dir() / f"self-test-{os.getpid()}.db"
    try:
        store = HistoryStore.open(file) if config.history else HistoryStore.in_memory()
        await _reply(config, source, store, result)
        if config.history:
            _check_history(file, result)
        else:
            result["history"] = {"kept": False}
    finally:
        for name in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            name.unlink(missing_ok=True)
    result["step"] = "offline"
    result["offline"]["opted_out"] = all(os.environ.get(name) == value for name, value in OPT_OUTS.items())
    if result["offline"]["sockets"] or not result["offline"]["opted_out"]:
        raise EngineError(
            "Not offline", Sentence("Sockets to a network were seen: {result}.", result=result["offline"]["sockets"])
        )


async def _reply(config: Config, source: ModelSource, store: HistoryStore, result: dict[str, Any]) -> None:
    engine = engine_for(config)
    session = Session(engine, store, system=config.system, sampling=Sampling(temperature=0), max_tokens=TOKENS)
    open_sockets: set[str] = set()
    result["offline"] = {"sockets": []}

    def look(progress: Progress | None = None) -> None:
        open_sockets.update(_network_sockets(engine))
        result["offline"]["sockets"] = sorted(open_sockets)

    try:
        result["step"] = "load"
        info = await session.start(look)
        look()
        result["load"] = {
            "seconds": round(info.load_seconds, 2),
            "context": info.context,
            "threads": info.threads,
            "form": info.form,
        }
        result["step"] = "reply"
        async with aclosing(session.send(QUESTION)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    look()
                elif isinstance(event, TurnClosed):
                    reply, finished = event.turn.reply, event.finished
                    result["reply"] = {
                        "text": reply.text if reply is not None else "",
                        "tokens": finished.usage.completion,
                        "ttft": round(finished.timings.ttft, 3),
                        "tokens_per_second": round(finished.tokens_per_second, 1),
                    }
        if not result["reply"]["text"].strip():
            raise EngineError("The model said nothing", "Its reply is empty.", "Verify the model.")
        result["step"] = "numbers"
        await _check_numbers(engine, source, result)
        look()
    finally:
        await session.aclose()


async def _check_numbers(engine: EngineClient, source: ModelSource, result: dict[str, Any]) -> None:
    """Check the model's predictions: a processor's kernels can be wrong even if every file is intact.

    Raises:
        EngineError: They differ from those where the model was made.
    """
    if source.kind != "genai":
        result["numbers"] = {"checked": "nothing", "note": "a model of this kind has no fingerprint"}
        return
    known = reference_of(_source_sha256(source.root))
    reference = known.fingerprint if known is not None else fingerprint.read(source.folder)
    if reference is None:
        await engine.fingerprint()  # fails by itself if the output is not finite
        result["numbers"] = {"checked": "shape", "note": "no fingerprint: only shape checked"}
        return
    numbers: dict[str, Any] = {
        "checked": "fingerprint" if known is None else "reference",
        "bound": round(reference.bound, 4),
    }
    result["numbers"] = numbers
    found = await engine.fingerprint(reference)
    numbers["distance"] = round(fingerprint.distance(reference, found), 4)
    fingerprint.check(reference, found)
    if known is not None:
        numbers["reply"] = await _answer(engine, known.question)
        if numbers["reply"] != known.reply:
            raise EngineError(
                "The model answers wrong",
                Sentence(
                    "To {question} it said {numbers} in place of {reply}.",
                    question=f"{known.question!r}",
                    numbers=f"{numbers['reply']!r}",
                    reply=f"{known.reply!r}",
                ),
                "Verify the model: edgechat models verify NAME",
            )


async def _answer(engine: EngineClient, question: str) -> str:
    sampling = Sampling(temperature=0, repetition_penalty=1)
    request = Request((Message("user", question),), sampling, TOKENS)
    async with aclosing(engine.stream(request)) as events:
        return "".join([event.text async for event in events if isinstance(event, TextDelta)]).strip()


def _source_sha256(root: Path | None) -> object:
    """Return the digest of the file an MLflow model was converted from; None if unknown."""
    if root is None or not (root / MLMODEL).is_file():
        return None
    return read_mlmodel(root)[0].metadata.get("source_sha256")


def _check_history(file: Path, result: dict[str, Any]) -> None:
    """Read back what was written, and check that the user's own history can be opened."""
    result["step"] = "history"
    written = HistoryStore.open(file)
    try:
        chat = written.latest()
    finally:
        written.close()
    reply = chat.turns[-1].reply if chat is not None and chat.turns else None
    if reply is None or reply.text != result["reply"]["text"]:
        raise StorageError("History is not kept", Sentence("What was written to {file} did not come back.", file=file))
    own = paths.history_path()
    if own.exists():
        HistoryStore.open(own).close()
    result["history"] = {"folder": str(file.parent), "written": True, "own": own.exists()}


def _network_sockets(engine: EngineClient) -> set[str]:
    """Return the internet sockets currently open in this process and the worker."""
    found = set()
    for pid in filter(None, (os.getpid(), engine.pid)):
        try:
            connections = psutil.Process(pid).net_connections("inet")
        except psutil.Error:  # the process has ended
            continue
        for one in connections:
            address = ":".join(map(str, one.laddr)) or "unbound"
            found.add(f"{'own process' if pid == os.getpid() else 'model process'}, {address}")
    return found
