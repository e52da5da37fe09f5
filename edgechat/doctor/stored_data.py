"""Checks the stored data: settings, keys, personas, models, chats and the log.

Of settings it reports only the names, of chats and the log only sizes and counts: the rest is private.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from edgechat.doctor.folders import is_read_only, may, remedy
from edgechat.doctor.preflight import Finding, preflight
from edgechat.errors import EdgechatError
from edgechat.history import backup
from edgechat.history.corruption import damage
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime import logs, paths
from edgechat.settings.loader import Settings, config_path

_OF_THE_MODEL = {"files": N_("Its files"), "memory": N_("Memory for it"), "extra": N_("What it needs")}
"""Titles of the model's findings among the other checks."""


def failed(name: str, title: str, error: EdgechatError) -> Finding:
    """Turn an error into a finding."""
    detail = f"{translate_error(error.title)}. {shown(translate_error(error.message), 400)}"
    return Finding(name, title, "fail", detail, shown(translate_error(error.hint), 400))


def settings(read: Settings | None) -> Iterator[Finding]:
    """Report which settings are set, and where; nothing if they cannot be read, which is reported elsewhere."""
    if read is None:
        return
    file = str(config_path()) if config_path().exists() else _("no file")
    # Only the names, since values may be private.
    changed = ", ".join(f"{key} ({source})" for key, source in sorted(read.sources.items())) or _("none")
    locked = ", ".join(sorted(read.locked)) or _("none")
    detail = _("{file}; set: {changed}; locked: {locked}").format(file=file, changed=changed, locked=locked)
    yield Finding("settings", N_("Settings"), "ok", detail)


def keys(read: Settings | None, key_problems: Callable[[Mapping[str, str]], list[str]] | None) -> Iterator[Finding]:
    """Check the user's key bindings; reports nothing if there are none."""
    if read is None or key_problems is None:
        return
    wrong = key_problems(read.config.keys)
    if wrong:
        hint = _("Change [keys] in {file}; `edgechat keys` lists them.").format(file=config_path())
        words = " ".join(sentence.removeprefix(f"{_('Keys')}: ") for sentence in wrong)
        yield Finding("keys", N_("Keys"), "warn", words, hint)
    elif read.config.keys:
        yield Finding("keys", N_("Keys"), "ok", _("{n} of your own").format(n=len(read.config.keys)))


def personas() -> Iterator[Finding]:
    """Report the personas that cannot be read."""
    from edgechat.settings.personas import all_personas

    faults = all_personas()[1]
    if faults:
        yield Finding("personas", N_("Personas"), "warn", " ".join(fault.message for fault in faults), faults[0].hint)


def models(read: Settings | None) -> Iterator[Finding]:
    """Report the model that would be used, and installed models that are broken."""
    from edgechat.models.default import embedded_gguf
    from edgechat.models.store import ModelStore
    from edgechat.models.uri import resolve_model

    uri = read.config.model_uri if read is not None else None
    context = read.config.context if read is not None else None
    entries = ModelStore().entries()
    broken = [entry for entry in entries if entry.error is not None]
    try:
        model = resolve_model(uri)
    except EdgechatError as error:
        if uri is None and not entries and embedded_gguf() is not None:
            yield Finding("model", N_("Model"), "ok", _("The first start installs the one that comes with edgechat."))
        else:
            yield failed("model", N_("Model"), error)
    else:
        detail = _("{name}, {type}, {weights}, {size}").format(
            name=shown(model.name),
            type=shown(model.architecture),
            weights=shown(model.quantisation) or "?",
            size=size_text(model.size_bytes),
        )
        yield Finding("model", N_("Model"), "ok", detail)
        for one in preflight(model, context=context):
            if one.id != "processor":
                yield Finding(f"model_{one.id}", _OF_THE_MODEL[one.id], one.state, one.detail, one.hint)
    names = _("{n} installed").format(n=len(entries))
    for entry in broken:
        yield Finding(
            "model_broken",
            N_("Installed model"),
            "warn",
            f"{shown(entry.name)}: {shown(entry.error, 300)}",
            _("Remove it, or add it again: edgechat models remove NAME"),
        )
    yield Finding("models", N_("Models"), "ok", names)


def history() -> Iterator[Finding]:
    """Check the chat database and its newest backup."""
    path, finding = paths.history_path(), partial(Finding, "history", N_("Chats"))
    if not path.exists():
        yield finding("ok", _("None are kept yet."))
        return
    size = path.stat().st_size
    words = damage(path)
    if words:
        yield finding(
            "fail",
            _("The file is damaged or cannot be read: {words}.").format(words=shown(words, 200)),
            _("The next start sets it aside and takes the newest backup; nothing in it is changed."),
        )
    elif is_read_only(path):
        yield finding("ok", _("sound, {size}; it can only be read").format(size=size_text(size)))
    elif not may(path, os.W_OK):
        yield finding("fail", _("{file} cannot be written to.").format(file=path), remedy("u+w", path))
    else:
        yield finding("ok", _("sound, {size}").format(size=size_text(size)))
    newest = next(iter(backup.backups(path)), None)
    if newest is None:
        yield Finding("backup", N_("Backup"), "ok", _("None yet; one a day is made while chatting."))
        return
    day = backup.day_of(newest)
    yield Finding(
        "backup", N_("Backup"), "ok", _("{day}, {size}").format(day=day, size=size_text(newest.stat().st_size))
    )


def log() -> Iterator[Finding]:
    """Report whether the log contains unexpected faults."""
    path = logs.path()
    faults = sum(line.level == "error" and "unexpected fault" in line.text for line in logs.read("error"))
    if not path.exists():
        yield Finding("log", N_("Log"), "ok", _("Nothing was logged yet."))
        return
    detail = f"{path}, {size_text(path.stat().st_size)}"
    if faults:
        detail = _("{log}; {n} unexpected faults in it").format(log=detail, n=faults)
        yield Finding("log", N_("Log"), "warn", detail, _("Please report them; nothing of a chat is in the log."))
    else:
        yield Finding("log", N_("Log"), "ok", detail)
