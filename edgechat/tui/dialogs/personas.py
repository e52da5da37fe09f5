"""The personas, over the chat: which of the kept system messages this chat is to have. Answers with it."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import N_, _
from edgechat.settings.personas import Persona, all_personas, folder
from edgechat.tui import glyphs
from edgechat.tui.dialogs.base import Card
from edgechat.tui.themes import MUTED

SHOWN = 160
"""Characters of a persona's text that are shown."""


class PersonasScreen(Card[Persona]):
    """A list to choose from, with what each tells the model, and what is wrong with files that should be some."""

    def __init__(self, system: str) -> None:
        """Make the list.

        Args:
            system: The chat's system message, whose persona is marked first.
        """
        super().__init__(_("Who the model is to be in this chat"), N_("Enter chooses, Esc leaves it as it is"))
        self._personas, self._faults = all_personas()
        self._system = system

    def body(self) -> Iterable[Widget]:
        """The personas."""
        yield OptionList(*(self._line(persona) for persona in self._personas))
        for fault in self._faults:
            yield Static(Content.styled(printable(f"{fault.title}: {fault.message}"), "$text-warning"))
        yield Static(Content.styled(_("Your own go into {folder}.").format(folder=folder()), MUTED))

    @staticmethod
    def _line(persona: Persona) -> Content:
        short = shorten(persona.text, SHOWN, placeholder=f" {glyphs.ELLIPSIS}")
        return Content.assemble((printable(persona.title), "bold"), f"\n{printable(short)}")

    def on_mount(self) -> None:
        """Begin at the one in use."""
        texts = [persona.text for persona in self._personas]
        options = self.query_one(OptionList)
        options.highlighted = texts.index(self._system) if self._system in texts else 0
        options.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._personas[message.option_index])
