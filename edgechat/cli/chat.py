"""`edgechat` without a command: the chat in the terminal."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from edgechat.engine.protocol import Engine
from edgechat.errors import ConfigError, DamagedError, ExitCode
from edgechat.i18n import catalog
from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import logs, paths
from edgechat.session.factory import engine_for, history_for, pulled_notice
from edgechat.session.prompt_builder import sampling_of
from edgechat.session.session import Session
from edgechat.settings.loader import load_settings
from edgechat.settings.schema import Config

if TYPE_CHECKING:
    from edgechat.chat.conversation import Conversation
    from edgechat.history.store import HistoryStore


def chat(
    *,
    model_uri: str | None = None,
    resume: bool = False,
    chat_id: int | None = None,
    system: str | None = None,
    persona: str | None = None,
    history: bool | None = None,
    context_policy: str | None = None,
    log_level: str | None = None,
    demo: bool = False,
    plain: bool | None = None,
) -> int:
    """Open the TUI or the plain chat; if started from a file manager, in a new terminal.

    Args:
        model_uri: The model from the command line.
        resume: Continue the latest chat.
        chat_id: Continue this chat.
        system: System message from the command line.
        persona: Persona from the command line.
        history: Whether to store the chat, from the command line.
        context_policy: What to do when a chat no longer fits, from the command line.
        log_level: Log level from the command line.
        demo: Use the scripted engine.
        plain: Whether to use the plain chat, from the command line; None uses the setting.

    Returns:
        The exit code.

    Raises:
        ConfigError: A setting is invalid, or there is no terminal.
        StorageError: The history cannot be opened, or has no such chat.
    """
    on_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
    if not on_terminal and not plain:
        from edgechat.cli.desktop import open_in_terminal, started_from_desktop

        if started_from_desktop():
            open_in_terminal()
            return int(ExitCode.OK)
    read = partial(
        load_settings,
        model_uri=model_uri,
        system=system,
        persona=persona,
        history=history,
        context_policy=context_policy,
        log_level=log_level,
        plain=plain,
    )
    settings = read()
    config = settings.config
    if demo:  # scripted replies do not belong in the user's history
        config = msgspec.structs.replace(config, history=False)
    catalog.use(config.language)
    logs.start(config.log_level)
    said = config.system
    if config.persona is not None:
        from edgechat.settings.personas import system_message

        said = system_message(settings)
    dumb = on_terminal and config.plain is None and os.environ.get("TERM") == "dumb"
    linear = config.plain or dumb
    if not on_terminal and not linear:
        raise ConfigError(
            "No terminal",
            "The chat needs a terminal for its input and its output.",
            'In a script use `edgechat ask "question"`, or `edgechat --plain` for a whole chat.',
        )
    if (resume or chat_id is not None) and not config.history:
        flag = "--continue" if resume else "--chat"
        raise ConfigError("Nothing to go on with", "No chats are kept here.", Sentence("Leave out {flag}.", flag=flag))
    early_notices = (
        [_("This terminal can only show lines (TERM is dumb), so this is the chat of --plain.")] if dumb else []
    )
    if config.language and not catalog.is_known(config.language):
        known = ", ".join(catalog.languages())
        early_notices.append(
            _("There is no language {name}. There are: {names}.").format(name=config.language, names=known)
        )
    store = history_for(config, early_notices.append)
    try:
        conversation = _requested_chat(store, resume, chat_id)
    except DamagedError:  # found only when reading the chat; reopening the history sets it aside
        store.close()
        store = history_for(config, early_notices.append)
        conversation = _requested_chat(store, resume, chat_id)

    def engine_of(uri: str | None) -> Engine:
        if demo:
            from edgechat.engine.scripted import ScriptedEngine

            return ScriptedEngine(delay=0.05)
        return engine_for(msgspec.structs.replace(read().config, model_uri=uri))  # settings may have changed since

    session = Session(
        engine_of(config.model_uri),
        store,
        engine_of=engine_of,
        model_uri=config.model_uri,
        conversation=conversation,
        system=said,
        sampling=sampling_of(config),
        max_tokens=config.max_tokens,
        context_policy=config.context_policy,
    )
    session.locked = settings.locked
    pulled = pulled_notice(config) if not demo else ""
    notices = (*early_notices, *((f"{pulled}.",) if pulled else ()), *_notices(config))
    if linear:
        from edgechat.cli.plain import run_plain

        return run_plain(session, notices=notices)
    from edgechat.tui.app import run_tui

    return run_tui(session, notices=notices, settings=settings, read_settings=read)


def _requested_chat(store: HistoryStore, resume: bool, chat_id: int | None) -> Conversation | None:
    """Return the chat to continue."""
    if chat_id is not None:
        return store.conversation(chat_id)
    return store.latest() if resume else None


def _notices(config: Config) -> tuple[str, ...]:
    """Return notices about where chats are stored."""
    if not config.history:
        return (_("This chat is not kept: it is gone when you quit."),)
    temporary = paths.temporary_home()
    if temporary is not None:
        return (
            _(
                "This user has no home folder. Chats are kept in {folder}, and may be gone after the device's next "
                "start. To keep them, set EDGECHAT_HOME to a folder."
            ).format(folder=temporary),
        )
    return ()
