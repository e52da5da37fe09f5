"""The doctor, over the chat: what was found, to be copied into a bug report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edgechat import doctor
from edgechat.chat.sanitize import printable
from edgechat.doctor.preflight import Finding
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error
from edgechat.settings.loader import Settings
from edgechat.tui import glyphs
from edgechat.tui.clipboard import copy
from edgechat.tui.dialogs.base import Card
from edgechat.tui.keys import problems
from edgechat.tui.themes import MUTED

_SIGNS = {"ok": (glyphs.CHECK, "$text-success"), "warn": ("!", "$text-warning"), "fail": (glyphs.FAILED, "$text-error")}


class DoctorScreen(Card[None]):
    """The findings, once they are there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", N_("Copy"), id="doctor.copy", tooltip=N_("Copy it for a bug report")),
        Binding("enter,q", "close", N_("Close"), id="doctor.close", tooltip=N_("Close the doctor")),
    ]

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Make the screen.

        Args:
            settings: Reads the settings.
        """
        super().__init__(_("Doctor"), N_("c copies it for a bug report · Esc closes"), wide=True)
        self._settings = settings
        self._found: list[Finding] = []

    def body(self) -> Iterable[Widget]:
        """The findings."""
        yield Static(Content(_("Looking…")), id="findings")

    def on_mount(self) -> None:
        """Begin to look."""
        self.run_worker(self._look(), name="doctor")

    async def _look(self) -> None:
        self._found = await asyncio.to_thread(doctor.examine, settings=self._settings, key_problems=problems)
        self.query_one("#findings", Static).update(Content("\n").join(map(drawn, self._found)))

    def action_copy(self) -> None:
        """Copy the findings."""
        if self._found:
            there = _("`edgechat doctor` prints them.")
            copy(self.app, doctor.as_text(self._found), _("The findings are in the clipboard."), there)


def drawn(finding: Finding) -> Content:
    """A finding as it is shown."""
    sign, style = _SIGNS[finding.state]
    line = Content.assemble(
        (sign, style), " ", (f"{_(finding.title)}: ", "bold"), printable(translate_error(finding.detail))
    )
    if finding.hint and finding.state != "ok":
        line = Content.assemble(line, "\n  ", (printable(translate_error(finding.hint)), MUTED))
    return line
