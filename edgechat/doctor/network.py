"""That edgechat is offline: no connection was asked for, no socket is open, every opt-out is set.

Only this process and its children are looked at, and no network is tried out: trying would be using it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from edgechat.doctor.preflight import Finding
from edgechat.i18n.catalog import N_, _
from edgechat.runtime.opt_outs import OPT_OUTS

_NETWORK_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto")


class Guard:
    """Watches, in this process, for Python code that asks for a network connection or a name."""

    _watching: Guard | None = None
    _installed = False

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __enter__(self) -> Guard:
        Guard._watching = self
        if not Guard._installed:  # a hook cannot be taken away again; this one does nothing while nobody watches
            Guard._installed = True
            sys.addaudithook(Guard._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        Guard._watching = None

    @staticmethod
    def _hear(event: str, arguments: tuple[Any, ...]) -> None:
        watcher = Guard._watching
        if watcher is None or event not in _NETWORK_EVENTS:
            return
        inner = arguments[0] if arguments else None
        if isinstance(inner, socket.socket) and inner.family not in (socket.AF_INET, socket.AF_INET6):
            return  # of this machine only
        watcher.seen.add(event)


def offline(guard: Guard) -> Iterator[Finding]:
    """Whether the opt-outs are set, what the guard heard, and which sockets the system lists."""
    missing = [name for name, value in OPT_OUTS.items() if os.environ.get(name) != value]
    yield Finding(
        "opt_outs",
        N_("Opt-outs"),
        "fail" if missing else "ok",
        _("not set: {names}").format(names=", ".join(missing))
        if missing
        else _("all {n} are set, for this process and those it starts").format(n=len(OPT_OUTS)),
        _("Start edgechat by its own command.") if missing else "",
    )
    sockets, processes = _sockets()
    finding = partial(Finding, "offline", N_("Offline"))
    if guard.seen or sockets:
        seen = ", ".join([*sorted(guard.seen), *sorted(sockets)])
        yield finding("fail", _("A network was asked for: {what}.").format(what=seen), _("Please report this."))
        return
    yield finding(
        "ok",
        _(
            "While these checks ran, edgechat asked for no name and no connection, and the system lists no internet "
            "socket of it (processes: {n}). A whole reply is watched by edgechat --self-test."
        ).format(n=processes),
    )
    interfaces = _interfaces()
    if interfaces is not None:
        others = [name for name in interfaces if name != "lo"]
        detail = _("this process could reach {n} network interfaces beside its own loop").format(n=len(others))
        yield Finding(
            "network", N_("Network"), "ok", detail if others else _("this process has no network at all, only its loop")
        )


def _sockets() -> tuple[set[str], int]:
    """The internet sockets that the system lists for this process and its children, and how many those are."""
    found: set[str] = set()
    own = psutil.Process()
    family = [own]
    with suppress(psutil.Error):
        family += own.children(recursive=True)
    for process in family:
        with suppress(psutil.Error):
            found.update(f"{one.status.lower()} socket" for one in process.net_connections("inet"))
    return found, len(family)


def _interfaces() -> list[str] | None:
    """The network interfaces of this process's namespace; None where the system does not tell."""
    try:
        text = Path("/proc/self/net/dev").read_text("ascii", "replace")
    except OSError:
        return None
    return [line.partition(":")[0].strip() for line in text.splitlines()[2:]]
