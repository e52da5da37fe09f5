"""Where the user writes: a text area in which Enter sends.

It never clears itself: only the screen knows whether a message was accepted, and a message that was not must stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets._text_area import TextArea  # the public name resolves lazily, which mypy cannot follow at no cost

LONG_PLACEHOLDER = "Ask anything. Enter sends, Ctrl+J starts a new line."
SHORT_PLACEHOLDER = "Ask anything"


class Composer(TextArea):
    """The message being written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="composer.send", tooltip="Send the message", priority=True),
        Binding(
            "ctrl+j,shift+enter,alt+enter",
            "newline",
            "New line",
            id="composer.newline",
            tooltip="Start a new line; not every terminal knows Shift+Enter",
            priority=True,
        ),
    ]

    @dataclass
    class Submitted(Message):
        """The user asked to send a message.

        Attributes:
            text: The message, exactly as it stands in the composer.
        """

        text: str

    def __init__(self) -> None:
        super().__init__(id="composer", placeholder=Content(LONG_PLACEHOLDER), highlight_cursor_line=False)

    def action_submit(self) -> None:
        """Offer the text to the screen; a message of nothing but white space is no message."""
        if self.text.strip():
            self.post_message(self.Submitted(self.text))

    def action_newline(self) -> None:
        """Put a line break where the cursor is."""
        start, end = self.selection
        self._replace_via_keyboard("\n", start, end)

    def restore(self, text: str) -> None:
        """Give back a message that could not be sent, in front of what has been written since."""
        written = self.text
        self.load_text(f"{text}\n{written}" if written.strip() else text)
        self.move_cursor(self.document.end)

    def hint(self, words: str, *, urgent: bool = False) -> None:
        """Show a few words on the lower edge; they must be edgechat's own, not a user's or a model's."""
        self.border_subtitle = words
        self.set_class(urgent, "-urgent")

    def on_resize(self, event: events.Resize) -> None:
        """Teach as much as there is room for."""
        short = event.size.width < len(LONG_PLACEHOLDER) + 2
        self.placeholder = Content(SHORT_PLACEHOLDER if short else LONG_PLACEHOLDER)
