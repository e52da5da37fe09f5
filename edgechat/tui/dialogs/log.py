"""The log, over the chat: its end, by level, to be copied into a bug report. Nothing of a chat is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error
from edgechat.runtime import logs, paths
from edgechat.tui.clipboard import copy
from edgechat.tui.dialogs.base import Card
from edgechat.tui.themes import MUTED

EVERY = 1.0
"""Seconds between two looks for something new."""

MOST = 500
"""Lines that are shown at a time."""


class LogScreen(Card[None]):
    """The end of the log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "level", N_("Level"), id="log.level", tooltip=N_("Show only what is more important")),
        Binding("w", "other", N_("Other log"), id="log.other", tooltip=N_("Show what the model's process printed")),
        Binding("c", "copy", N_("Copy"), id="log.copy", tooltip=N_("Copy what is shown")),
        Binding("q", "close", N_("Close"), id="log.close", tooltip=N_("Close the log")),
    ]

    def __init__(self) -> None:
        """Make the screen; the log is read when it is there."""
        super().__init__(_("Log"), N_("l level · w the model's process · c copies · Esc closes"), wide=True)
        self._lowest: logs.Level = "debug"
        self._file = logs.path()
        self._shown: list[logs.Line] | None = None

    def body(self) -> Iterable[Widget]:
        """Which level of which file, and its lines."""
        yield Static(id="log-place")
        yield Static(id="log-lines")

    def on_mount(self) -> None:
        """Follow the log."""
        self.set_interval(EVERY, self._look)
        self._look()

    def _look(self) -> None:
        _worker: Worker[None] = self.run_worker(self._read, group="log", exclusive=True)

    async def _read(self) -> None:
        try:
            found = (await asyncio.to_thread(logs.read, self._lowest, self._file))[-MOST:]
        except EdgechatError as error:
            self.query_one("#log-lines", Static).update(Content(printable(format_error(error.title, error.message))))
            return
        if found != self._shown:
            self._shown = found
            self._draw(found)

    def _draw(self, found: list[logs.Line]) -> None:
        level = _("all levels") if self._lowest == "debug" else _("from {level} on").format(level=self._lowest)
        place = f"{printable(str(self._file))}  ({level})"
        self.query_one("#log-place", Static).update(Content.styled(place, MUTED))
        styles = {"error": "$text-error", "warning": "$text-warning", "debug": MUTED}
        lines = [Content.styled(printable(line.text), styles.get(line.level, "")) for line in found]
        self.query_one("#log-lines", Static).update(
            Content("\n").join(lines) if lines else Content(_("Nothing was logged."))
        )
        self.call_after_refresh(self.query_one("#card-body", VerticalScroll).scroll_end, animate=False)

    def action_level(self) -> None:
        """Leave out the least important level that is shown; after the last one, show all."""
        levels = logs.LEVELS
        self._lowest = levels[(levels.index(self._lowest) + 1) % len(levels)]
        self._shown = None
        self._look()

    def action_other(self) -> None:
        """Show the other log: edgechat's own, or what the process of the model printed."""
        own, models = logs.path(), paths.log_path("worker")
        self._file = models if self._file == own else own
        self._shown = None
        self._look()

    def action_copy(self) -> None:
        """Copy the lines that are shown."""
        lines = "\n".join(line.text for line in self._shown or [])
        there = _("It is the file {path}.").format(path=self._file)
        copy(self.app, lines, _("The log is in the clipboard."), there)
