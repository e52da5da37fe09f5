"""Where the user writes: a text area in which Enter sends.

A message leaves it in the moment Enter is pressed, so that what is typed next is the next message. While one is being
answered nothing leaves it, and a message that could not be saved is given back: no text is ever lost here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from edgechat.tui.direction import DirectedTextArea

LONG_PLACEHOLDER = "Ask anything. Enter sends, Ctrl+J starts a new line."
SHORT_PLACEHOLDER = "Ask anything"

SEND_KEYS = "enter"
NEWLINE_KEYS = "ctrl+j,shift+enter,alt+enter"


class Composer(DirectedTextArea):
    """The message being written.

    Attributes:
        accepting: Whether a message may be sent now. It is False from a message until the screen says otherwise.
    """

    # These tell the help of the keys. They are obeyed in `_on_key`: a binding with priority would overtake the letters
    # that were typed just before and still wait for the text area, and without priority the text area takes Enter.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(SEND_KEYS, "submit", "Send", id="composer.send", tooltip="Send the message"),
        Binding(
            NEWLINE_KEYS,
            "newline",
            "New line",
            id="composer.newline",
            tooltip="Start a new line; not every terminal knows Shift+Enter",
        ),
    ]

    @dataclass
    class Submitted(Message):
        """The user sent a message, and the composer is waiting for the next one to be allowed.

        Attributes:
            text: The message, exactly as it stood in the composer.
        """

        text: str

    class Refused(Message):
        """The user asked to send a message while another is being answered; it stays in the composer."""

    def __init__(self) -> None:
        super().__init__(id="composer", placeholder=Content(LONG_PLACEHOLDER), highlight_cursor_line=False)
        self.accepting = True

    async def _on_key(self, event: events.Key) -> None:
        if event.key in SEND_KEYS.split(","):
            action = self.action_submit
        elif event.key in NEWLINE_KEYS.split(","):
            action = self.action_newline
        else:
            return  # the text area's own handler comes next
        event.stop()
        event.prevent_default()
        action()

    def action_submit(self) -> None:
        """Send the text, if it is time to; a message of nothing but white space is no message."""
        text = self.text
        if not text.strip():
            return
        if not self.accepting:
            self.post_message(self.Refused())
            return
        self.accepting = False
        self.clear()
        self.post_message(self.Submitted(text))

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
