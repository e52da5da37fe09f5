"""Checks the environment: edgechat's version and libraries, the system, the processor, the memory, the terminal.

Everything is queried afresh; none of the user's files are opened here.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import psutil

from edgechat.doctor.preflight import Finding, processor
from edgechat.engine import resources
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error
from edgechat.models import speed_history
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime import paths

LIBRARIES = ("onnxruntime-genai", "textual", "mlflow-skinny", "tokenizers", "msgspec", "transformers", "torch")
"""Libraries whose versions matter; missing ones are omitted."""


def versions(version: str) -> Iterator[Finding]:
    """Report the versions of edgechat, Python, the libraries and the system."""
    packaged = _(", packaged") if getattr(sys, "frozen", False) else ""
    yield Finding("version", N_("Version"), "ok", f"edgechat {version}{packaged}")
    libraries = []
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            libraries.append(f"{name} {importlib.metadata.version(name)}")
    detail = ", ".join([f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}", *libraries])
    yield Finding("libraries", N_("Libraries"), "ok", detail)
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("system", N_("System"), "ok", system)


def hardware() -> Iterator[Finding]:
    """Report the processor, the compute threads, and the memory."""
    cores, logical = psutil.cpu_count(logical=False) or 0, os.cpu_count() or 0
    found = processor()
    name = speed_history.cpu_name() or platform.machine()
    yield Finding(found.id, found.title, found.state, f"{shown(name)}; {translate_error(found.detail)}", found.hint)
    detail = _("threads by default: {threads}; cores: {cores}, logical: {logical}").format(
        threads=resources.threads(), cores=cores or "?", logical=logical or "?"
    )
    yield Finding("threads", N_("Threads"), "ok", detail)
    free, total = resources.available_memory(), psutil.virtual_memory().total
    detail = _("{free} free of {total}").format(free=size_text(free), total=size_text(total))
    little = free < resources.RESERVE
    yield Finding(
        "memory",
        N_("Memory"),
        "warn" if little else "ok",
        detail,
        _("Close other programs: hardly any model fits.") if little else "",
    )


def confinement() -> Iterator[Finding]:
    """Report the sandbox of the process that opens a model, as observed by a process started for that purpose."""
    finding = partial(Finding, "confinement", N_("Confinement"))
    if sys.platform != "linux":
        yield finding("ok", _("none: this system has none that a program can ask for"))
        return
    try:
        ended = subprocess.run(paths.own_command("_confinement"), capture_output=True, check=True, timeout=60)
        report = json.loads(ended.stdout)
        by, missing = str(report["confinement"]), ", ".join(map(str, report["missing"]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        by, missing = "", type(error).__name__
    except EdgechatError as error:
        by, missing = "", error.title
    if not missing:
        yield finding("ok", _("{by}: a model reads its own folder, and can do nothing else").format(by=by))
        return
    yield finding(
        "warn",
        _("{by} ({missing})").format(by=by or _("nothing"), missing=shown(missing, 300)),
        _("Linux has both from 5.13 on; where a container forbids them, allow them. Chatting goes on without."),
    )


def terminal() -> Iterator[Finding]:
    """Report what the terminal claims to support, and whether the interface needs more."""
    environment = os.environ
    size = _terminal_size()
    encoding = (getattr(sys.__stderr__, "encoding", "") or "").lower()
    utf8 = encoding.replace("-", "") == "utf8"
    term = environment.get("TERM", "")
    facts = [
        f"TERM={shown(term) or '-'}",
        f"COLORTERM={shown(environment.get('COLORTERM', '')) or '-'}",
        _("columns: {columns}, rows: {rows}").format(columns=size.columns, rows=size.lines)
        if size.columns
        else _("size unknown"),
        encoding or _("encoding unknown"),
    ]
    facts += [name for name in ("NO_COLOR", "TMUX", "STY", "SSH_CONNECTION") if environment.get(name)]
    facts.append(_("a terminal") if sys.stdout is not None and sys.stdout.isatty() else _("output is not a terminal"))
    detail = ", ".join(facts)
    finding = partial(Finding, "terminal", N_("Terminal"))
    if term in ("", "dumb"):
        yield finding(
            "warn",
            _("It can only show lines ({facts}).").format(facts=detail),
            _("Use edgechat --plain, or set TERM to what the terminal is."),
        )
    elif not utf8:
        yield finding(
            "warn",
            _("It is not told to take UTF-8 ({facts}).").format(facts=detail),
            _("Set the locale, as in LANG=C.UTF-8."),
        )
    elif 0 < size.columns < 40 or 0 < size.lines < 12:
        yield finding("warn", detail, _("Make the window at least 40 columns by 12 rows."))
    else:
        yield finding("ok", detail)


def _terminal_size() -> os.terminal_size:
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):  # the interface has replaced the others
        with suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(stream.fileno())  # type: ignore[union-attr]
    return os.terminal_size((0, 0))
