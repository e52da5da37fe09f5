"""Checks that edgechat is offline: no connection was attempted, no socket is open, every opt-out is set.

Only this process and its children are examined, and no network is tried: that would be using it.
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
    """Detects Python code in this process that requests a network connection or a name lookup."""

    _watching: Guard | None = None
    _installed = False

    def __init__(self) -> None:
        self.events: set[str] = set()

    def __enter__(self) -> Guard:
        Guard._watching = self
        if not Guard._installed:  # hooks cannot be removed; this one does nothing while no guard is active
            Guard._installed = True
            sys.addaudithook(Guard._on_event)
        return self

    def __exit__(self, *_error: object) -> None:
        Guard._watching = None

    @staticmethod
    def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
        watcher = Guard._watching
        if watcher is None or event not in _NETWORK_EVENTS:
            return
        inner = arguments[0] if arguments else None
        if isinstance(inner, socket.socket) and inner.family not in (socket.AF_INET, socket.AF_INET6):
            return  # local to this machine
        watcher.events.add(event)


def offline(guard: Guard) -> Iterator[Finding]:
    """Check the opt-outs, what the guard detected, and the sockets listed by the system."""
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
    if guard.events or sockets:
        events = ", ".join([*sorted(guard.events), *sorted(sockets)])
        yield finding("fail", _("A network was asked for: {what}.").format(what=events), _("Please report this."))
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
    """Return the internet sockets of this process and its children, and the number of processes."""
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
    """Return the network interfaces in this process's namespace; None if the system does not list them."""
    try:
        text = Path("/proc/self/net/dev").read_text("ascii", "replace")
    except OSError:
        return None
    return [line.partition(":")[0].strip() for line in text.splitlines()[2:]]
