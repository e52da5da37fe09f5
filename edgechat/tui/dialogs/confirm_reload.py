"""A question over the chat: whether to load the model again, after settings that need it were changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edgechat.i18n.catalog import N_, _
from edgechat.tui.dialogs.base import Card


class ReloadScreen(Card[bool]):
    """Asks whether to load the model again now. Answers with True for that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "reload", N_("Load"), id="settings.reload", tooltip=N_("Load the model again now")),
    ]

    def __init__(self) -> None:
        """Make the question."""
        super().__init__(_("Load the model again now?"), N_("Enter loads it, Esc leaves it for the next start"))

    def body(self) -> Iterable[Widget]:
        """Why."""
        words = _("Some of what you changed takes effect when the model is loaded. The chat stays as it is.")
        yield Static(Content(words))

    def action_reload(self) -> None:
        """Answer with yes."""
        self.dismiss(True)
