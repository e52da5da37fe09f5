"""Where the user writes: a text area in which Enter sends.

A message leaves it in the moment Enter is pressed, so that what is typed next is the next message. While one is being
answered nothing leaves it, and a message that could not be saved is given back: no text is ever lost here. A line that
begins with a slash leaves it as a command, never as a message. Long texts are folded into labels; see
`collapsed_text`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets._text_area import TextArea

from edgechat.history.drafts import Draft
from edgechat.i18n.catalog import N_, _
from edgechat.slash import is_command, message_of
from edgechat.tui.rtl import DirectedTextArea
from edgechat.tui.widgets.collapsed_text import Folds
from edgechat.tui.widgets.completion import CommandCompletion, CompletionsFound
from edgechat.tui.widgets.edge_words import EdgeWords
from edgechat.tui.widgets.pending_drafts import PendingDrafts
from edgechat.tui.widgets.sent_history import SentHistory
from edgechat.tui.widgets.suggestions import Suggestions

if TYPE_CHECKING:
    from rich.text import Text
    from textual.document._document import EditResult, Location
    from textual.document._edit import Edit

LONG_PLACEHOLDER = N_("Ask anything. Enter sends, Ctrl+J starts a new line, / shows commands.")
SHORT_PLACEHOLDER = N_("Ask anything")

SEND_KEYS = "enter"
NEWLINE_KEYS = "ctrl+j,shift+enter,alt+enter"


class Composer(DirectedTextArea):
    """The message being written.

    Attributes:
        accepting: Whether a message may be sent now. It is False from a message until the screen says otherwise.
        edge: The words on the lower edge.
        pending: What was written here, is not seen any more, and is in no chat yet.
        sent: The messages that were sent before.
    """

    # These tell the help of the keys. They are obeyed in `_on_key`: a binding with priority would overtake the letters
    # that were typed just before and still wait for the text area, and without priority the text area takes Enter.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(SEND_KEYS, "submit", N_("Send"), id="composer.send", tooltip=N_("Send the message")),
        Binding(
            NEWLINE_KEYS,
            "newline",
            N_("New line"),
            id="composer.newline",
            tooltip=N_("Start a new line; not every terminal knows Shift+Enter"),
        ),
        Binding("up", "cursor_up", N_("Up"), id="composer.up", tooltip=N_("Up; in the first line, the message before")),
        Binding(
            "down",
            "cursor_down",
            N_("Down"),
            id="composer.down",
            tooltip=N_("Down; in the last line, the message after"),
        ),
    ]

    @dataclass
    class Submitted(Message):
        """The user sent a message, and the composer is waiting for the next one to be allowed.

        Attributes:
            text: The message, with all that was folded in it.
        """

        text: str

    @dataclass
    class Commanded(Message):
        """The user wrote a command.

        Attributes:
            line: As it was written, the slash included.
        """

        line: str

    class Refused(Message):
        """The user asked to send a message while another is being answered; it stays in the composer."""

    @dataclass
    class Dropped(Message):
        """The user pasted nothing but paths of files, which is what a terminal makes of files dropped on it.

        Attributes:
            paths: The files.
            pasted: The text as it stands in the composer now.
        """

        paths: Sequence[Path]
        pasted: str

    class Left(Message):
        """The user went up from an empty composer, with no earlier message left to go to."""

    def __init__(self, suggestions: Suggestions | None = None) -> None:
        """Make an empty composer.

        Args:
            suggestions: The list above it.
        """
        super().__init__(
            id="composer",
            placeholder=Content(_(LONG_PLACEHOLDER)),
            highlight_cursor_line=False,
        )
        self.accepting = True
        self.edge = EdgeWords(self)
        self.pending = PendingDrafts()
        self.sent = SentHistory()
        self._folds = Folds()
        self._completion = CommandCompletion(self, suggestions or Suggestions(), self.action_submit)

    @property
    def message(self) -> str:
        """What is written, with all that is folded in it."""
        return self._folds.unfold(self.text)

    @property
    def draft(self) -> Draft:
        """What is written, as it can be saved."""
        return Draft(self.text, self._folds.pieces(self.text))

    @property
    def unsent(self) -> Draft:
        """All that was written here and is in no chat yet, as it can be saved, commands that are obeyed included."""
        return self.pending.with_commands(self.unsent_here)

    @property
    def unsent_here(self) -> Draft:
        """What of it belongs to the chat that is shown; a command may lead to another one."""
        shown = self.draft
        return self.pending.with_shown(shown, self.sent.unsent(shown, self._folds.unfold))

    # Keys

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("tab", "enter"):
            await self._completion.catch_up(event.key)
        if self._completion.choose(event.key):
            action = None
        elif event.key in self._keys_of("composer.send", SEND_KEYS):
            action = self.action_submit
        elif event.key in self._keys_of("composer.newline", NEWLINE_KEYS):
            action = self.action_newline
        elif event.key == "tab" and self._completion.command is not None:
            action = None  # there was nothing to complete; that is no reason to leave
        else:
            return  # the text area's own handler comes next
        event.stop()
        event.prevent_default()
        if action is not None:
            action()

    def _keys_of(self, name: str, default: str) -> list[str]:
        """The keys of a binding, which may be the user's own."""
        return self.app._keymap.get(name, default).split(",")

    @on(TextArea.Changed)
    def _complete(self) -> None:
        self._completion.update()

    @on(CompletionsFound)
    def _show_completions(self, message: CompletionsFound) -> None:
        message.stop()
        self._completion.show_found(message)

    def action_submit(self) -> None:
        """Send the text, if it is time to; a message of nothing but white space is no message."""
        text = self.text
        if not text.strip():
            return
        if is_command(text):
            line = self._folds.unfold(text)
            self.pending.start_command(line, self.draft)
            self._clear_sent(text)
            self.post_message(self.Commanded(line))
            return
        if not self.accepting:
            self.post_message(self.Refused())
            return
        self.accepting = False
        message = message_of(self.message) if text.startswith("//") else self.message
        self.pending.send(self.draft)
        self._clear_sent(message)
        self.post_message(self.Submitted(message))

    def _clear_sent(self, sent: str) -> None:
        self._completion.close()
        self.clear()
        self.sent.add_sent(sent)
        aside = self.pending.take_aside()
        if aside.text and self._folds.unfold(aside.text) != sent:
            self.show_draft(aside)

    def action_newline(self) -> None:
        """Put a line break where the cursor is."""
        start, end = self.selection
        self._replace_via_keyboard("\n", start, end)

    async def _on_paste(self, event: events.Paste) -> None:
        """Take a paste: what is long is folded, and paths of files are offered to be attached."""
        event.prevent_default()
        event.stop()
        pasted = event.text.replace("\r\n", "\n").replace("\r", "\n")
        self._replace_via_keyboard(self._folds.fold_long(pasted), *self.selection)
        if pasted.strip()[:1] in ("/", "~", "'", '"', "\\") or pasted.startswith("file:") or pasted[1:2] == ":":
            from edgechat.chat.attachments import paths_in  # only a paste of paths needs it

            if paths := await asyncio.to_thread(paths_in, pasted):
                self.post_message(self.Dropped(paths, pasted))

    def action_cursor_up(self, select: bool = False) -> None:
        """Go up; in the first line, to the message that was sent before."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif not self.sent.at_oldest:
            self._recall(-1)
        elif not self.text:
            self.post_message(self.Left())
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Go down; in the last line, to the message that was sent after."""
        at_end = self.navigator.is_last_wrapped_line(self.cursor_location)
        if not select and at_end and not self.sent.at_draft:
            self._recall(1)
        else:
            super().action_cursor_down(select)

    def _recall(self, by: int) -> None:
        """Show a message of those that were sent, or the draft after the last; what was changed here is not lost."""
        there = self.sent.recall(by, self.draft)
        self._completion.close()
        self._load(there.text if isinstance(there, Draft) else self._folds.fold_long(there))

    # Text from elsewhere

    def take_back(self) -> bool:
        """Give back what was on its way, in front of what has been written since; whether there was anything."""
        draft = self.pending.take_back()
        self.add_draft(draft)
        return bool(draft.text)

    def restore(self, text: str) -> None:
        """Give back a message that could not be sent, in front of what has been written since."""
        text = self._folds.fold_long(f"/{text}" if text.startswith("/") else text)
        self._put_before(text)

    def restore_command(self, line: str) -> None:
        """Give back a command that could not be obeyed, in front of what has been written since."""
        self.pending.end_command(line)
        self._put_before(line)

    def show_draft(self, draft: Draft) -> None:
        """Show a draft in the place of what is written."""
        self._folds = Folds(draft.pieces)
        self.sent.reset()
        self._load(draft.text)

    def add_draft(self, draft: Draft) -> None:
        """Put a draft in front of what has been written already."""
        if not draft.text:
            return
        if not self.text.strip():
            self.show_draft(draft)
        else:
            for label, piece in draft.pieces.items():
                self._folds.fold(label[1:-1], piece)
            self._put_before(draft.text)

    def start_edit(self, message: str) -> None:
        """Let a message that was sent be edited here; the draft waits."""
        self.pending.start_edit(self.draft)
        self._load(self._folds.fold_long(message))
        self.pending.edit_shown(self.text)

    def end_edit(self) -> None:
        """Show the draft again that waited."""
        draft = self.pending.end_edit()
        if draft is not None:
            self.show_draft(draft)

    def show_command(self, line: str) -> None:
        """Begin a command; what was written waits until it is obeyed, and Up goes back to it."""
        if self.text.strip() and not is_command(self.text):
            self.pending.set_aside(self.draft)
            self.sent.append(self.message)
        self._load(line)

    def show_edited(self, message: str) -> None:
        """Show a whole message that was changed elsewhere in the place of what is written."""
        self._replace_all(self._folds.fold_long(self._folds.fold_again(message)))

    def attach(self, words: str, block: str) -> None:
        """Put a folded text where the cursor is.

        Args:
            words: What its label says.
            block: The text.
        """
        label = self._folds.fold(words, block)
        line, column = self.cursor_location
        before = self.document.get_line(line)[:column]
        self._replace_via_keyboard(f"{chr(10) if before.strip() else ''}{label}\n", *self.selection)

    def replace_text(self, old: str, new: str) -> None:
        """Put a text in the place of another that was just written."""
        self._replace_all(self.text.replace(old, new, 1))

    def _put_before(self, text: str) -> None:
        written = self.text
        self._load(f"{text}\n{written}" if written.strip() else text)

    def _load(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def _replace_all(self, text: str) -> None:
        """Unlike `_load`, this can be undone."""
        result = self.replace(text, self.document.start, self.document.end, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    # Labels are edited as one character would be

    def edit(self, edit: Edit) -> EditResult:
        """Change the text. A label of which a part would go goes whole, and nothing is written into one."""
        top, bottom = edit.top, edit.bottom
        if top == bottom:
            edit.from_location = edit.to_location = self._outside(top, after=True)
        else:
            edit.from_location, edit.to_location = self._outside(top, after=False), self._outside(bottom, after=True)
        self._completion.text_edited()
        return super().edit(edit)

    def _outside(self, location: Location, *, after: bool) -> Location:
        line, column = location
        if line >= self.document.line_count:  # deleting at the end reaches for a line that is not there
            return location
        return line, self._folds.outside(self.document.get_line(line), column, after=after)

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: labels are told from what was typed."""
        text = super().get_line(line_index)
        for start, end in self._folds.spans(text.plain):
            text.stylize("bold", start, end)
        return text

    @on(events.Resize)
    def _fit(self, event: events.Resize) -> None:
        """Teach as much as there is room for."""
        short = event.size.width < len(_(LONG_PLACEHOLDER)) + 2
        self.placeholder = Content(_(SHORT_PLACEHOLDER) if short else _(LONG_PLACEHOLDER))
        self.edge.draw()
