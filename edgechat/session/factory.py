"""From settings to an engine and its sampling; the model is looked for when it is first needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.engine.protocol import Progress, ProgressCallback
from edgechat.errors import DamagedError, ModelError, StorageError
from edgechat.runtime import paths
from edgechat.settings.schema import Config

if TYPE_CHECKING:
    from edgechat.engine.worker.client import EngineClient, ModelSource
    from edgechat.history.database import Database
    from edgechat.history.store import HistoryStore
    from edgechat.models.folder import ModelFolder


def history_for(config: Config, tell: Callable[[str], None]) -> HistoryStore:
    """The history to chat with: the user's, or one that forgets.

    Nobody is kept from chatting by a history that cannot be opened: then it is one that forgets as well, and `tell` is
    given the words for that, as for a damaged file that was set aside.
    """
    from edgechat.history.store import HistoryStore

    if config.history:
        try:
            return open_history(tell)
        except StorageError as error:
            from edgechat.i18n.catalog import _
            from edgechat.i18n.error_messages import format_error

            tell(format_error(error.title, error.message, error.hint))
            tell(_("Until then nothing of this chat is kept: it is gone when you quit."))
    return HistoryStore.in_memory()


def open_history(tell: Callable[[str], None], *, to_read: bool = False) -> HistoryStore:
    """The user's history. Raises StorageError.

    A damaged file is set aside, and the newest sound copy takes its place; `tell` is given the words for it.

    Args:
        tell: Is given words for the user.
        to_read: Nothing is to be changed, so that a file that cannot be written will do.
    """
    from edgechat.history.store import HistoryStore

    return HistoryStore(open_database(tell, to_read=to_read))


def open_database(tell: Callable[[str], None], *, to_read: bool = False) -> Database:
    """The user's history, as `open_history` opens it."""
    from edgechat.history.database import Database

    path = paths.history_path()
    try:
        database = Database.open(path)
    except DamagedError as error:
        set_aside(path, error, tell)
        database = Database.open(path)
    except StorageError as error:
        if not to_read or not path.is_file():
            raise
        return _open_unwritable(path, error)
    if not database.locked:
        from edgechat.i18n.catalog import _

        words = _("The disk of {folder} has no file locks: open these chats with one edgechat at a time.")
        tell(words.format(folder=path.parent))
    return database


def _open_unwritable(path: Path, error: StorageError) -> Database:
    from edgechat.history.connection import has_locks
    from edgechat.history.database import Database

    if not has_locks(path):  # another edgechat may be writing it, unseen
        raise error
    try:
        return Database.open_unwritable(path)
    except StorageError:
        raise error from None  # what is wrong with it is told by whoever wanted all of it


def set_aside(path: Path, error: DamagedError, tell: Callable[[str], None]) -> None:
    """Move a damaged history away and tell of it; raises the error again where that cannot be done."""
    from edgechat.history import backup

    try:
        words = backup.set_aside(path)
    except OSError:
        raise error from None
    if words is not None:  # else another edgechat has done it meanwhile
        tell(words)


def engine_for(config: Config) -> EngineClient:
    """The engine of the model the settings name; the model is looked for when it is first needed."""
    from edgechat.engine.worker.client import EngineClient, EngineOptions

    kept = None if config.cache_memory is None else config.cache_memory * 1024 * 1024
    options = EngineOptions(context=config.context, threads=config.threads, spinning=config.spinning, cache_bytes=kept)
    return EngineClient(locate(config.model_uri), options)


def pulled_notice(config: Config) -> str:
    """Which version the URI of a registry means here, and since when; "" where the settings name no such URI."""
    if config.model_uri is None or ":" not in config.model_uri:
        return ""
    from edgechat.models import uri  # some milliseconds that no other start pays before its first paint

    return uri.pulled_notice(config.model_uri)


def locate(uri: str | None) -> Callable[[ProgressCallback], Awaitable[ModelSource]]:
    """What finds the model of that URI when it is needed; without a URI the default one, installed if it must be.

    Its files are compared with their manifest, and a damaged default model is made again.
    """

    async def find(on_progress: ProgressCallback) -> ModelSource:
        from edgechat.engine.worker.client import ModelSource
        from edgechat.models.default import DEFAULT_NAME, embedded_gguf, prepare
        from edgechat.models.uri import resolve_model

        def installing(done: int, total: int, note: str) -> None:
            on_progress(Progress("install", done, total, note))

        if uri is not None:
            model = await asyncio.to_thread(resolve_model, uri)
            await _check(model.root, on_progress)
            await asyncio.to_thread(_refuse_too_large, model)
            return ModelSource(model.genai, model.name, model.kind, model.root)
        model = await prepare(installing)
        try:
            await _check(model.root, on_progress)
        except ModelError:
            if model.name != DEFAULT_NAME or embedded_gguf() is None:
                raise
            model = await prepare(installing, reinstall=True)
        await asyncio.to_thread(_refuse_too_large, model)
        return ModelSource(model.genai, model.name, model.kind, model.root)

    return find


def _refuse_too_large(model: ModelFolder) -> None:
    from edgechat.doctor.preflight import refuse_too_large  # in the thread: what it imports would hold up the interface

    refuse_too_large(model)


class _GivenUpError(Exception):
    """Nobody waits for the check any more."""


async def _check(root: Path, on_progress: ProgressCallback) -> None:
    """Compare a model's files with its manifest. A moved model is read whole, which takes as long as its disk."""
    from edgechat.models.manifest import ensure_intact

    loop = asyncio.get_running_loop()
    given_up = threading.Event()

    def progress(done: int, total: int) -> None:
        if given_up.is_set():
            raise _GivenUpError
        loop.call_soon_threadsafe(on_progress, Progress("check", done, total))

    try:
        await asyncio.to_thread(ensure_intact, root, progress)
    finally:
        given_up.set()  # a thread cannot be cancelled, only asked, and the program would wait for it
