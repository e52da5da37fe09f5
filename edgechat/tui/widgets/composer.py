"""Where the user writes: a text area in which Enter sends.

A message leaves it in the moment Enter is pressed, so that what is typed next is the next message. While one is being
answered nothing leaves it, and a message that could not be saved is given back: no text is ever lost here. A line that
begins with a slash leaves it as a command, never as a message. Long texts are folded into labels; see `folding`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from edgechat.history.drafts import Draft, joined
from edgechat.i18n.catalog import N_, _
from edgechat.slash import is_command, message_of
from edgechat.tui.appearance import LookApp
from edgechat.tui.widgets.collapsed_text import Folds
from edgechat.tui.widgets.completion import CompletingTextArea
from edgechat.tui.widgets.suggestions import Suggestions

if TYPE_CHECKING:
    from rich.text import Text
    from textual.document._document import EditResult, Location
    from textual.document._edit import Edit

LONG_PLACEHOLDER = N_("Ask anything. Enter sends, Ctrl+J starts a new line, / shows commands.")
SHORT_PLACEHOLDER = N_("Ask anything")

EDGE = 6
"""Cells of the lower edge beside the words on it."""

SEND_KEYS = "enter"
NEWLINE_KEYS = "ctrl+j,shift+enter,alt+enter"


class Composer(CompletingTextArea):
    """The message being written.

    Attributes:
        accepting: Whether a message may be sent now. It is False from a message until the screen says otherwise.
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
            suggestions or Suggestions(),
            id="composer",
            placeholder=Content(_(LONG_PLACEHOLDER)),
            highlight_cursor_line=False,
        )
        self.accepting = True
        self._waiting: Draft | None = None
        self._lent = ""
        self._aside = self._outgoing = Draft()
        self._orders: list[tuple[str, Draft]] = []  # commands that are being obeyed
        self._folds = Folds()
        self._hint = self._measure = ("", "")
        self._hint_urgent = self._measure_urgent = False
        self._sent: list[str] = []
        self._place = 0
        self._written: dict[int, Draft] = {}

    @property
    def message(self) -> str:
        """What is written, with all that is folded in it."""
        return self._folds.unfold(self.text)

    @property
    def draft(self) -> Draft:
        """What is written, as it can be kept."""
        return Draft(self.text, self._folds.pieces(self.text))

    @property
    def unsent(self) -> Draft:
        """All that was written here and is in no chat yet, as it can be kept.

        That is more than what is seen: a command that is being obeyed, a message on its way into the history, one that
        waits while another or a command is written, one that was left for those sent before.
        """
        return joined(*(draft for _line, draft in self._orders), self.unsent_here)

    @property
    def unsent_here(self) -> Draft:
        """What of it belongs to the chat that is shown; a command may lead to another one."""
        seen = self.draft
        if self._waiting is not None:
            lent, waiting = (seen if seen.text != self._lent else Draft()), self._waiting
            return joined(self._outgoing, lent, waiting, self._aside)
        drafts = {**self._written, self._place: seen}
        own = (draft for place, draft in sorted(drafts.items()) if not self._is_sent(place, draft))
        return joined(self._outgoing, *own, self._aside)

    def _is_sent(self, place: int, draft: Draft) -> bool:
        return place < len(self._sent) and self._folds.unfold(draft.text) == self._sent[place]

    # Keys

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("tab", "enter"):
            await self._catch_up(event.key)
        if self.suggestions.choices and self._choose(event.key):
            action = None
        elif event.key in self._keys_of("composer.send", SEND_KEYS):
            action = self.action_submit
        elif event.key in self._keys_of("composer.newline", NEWLINE_KEYS):
            action = self.action_newline
        elif event.key == "tab" and self._begun_command() is not None:
            action = None  # there was nothing to complete; that is no reason to leave
        else:
            return  # the text area's own handler comes next
        event.stop()
        event.prevent_default()
        if action is not None:
            action()

    def _keys_of(self, name: str, default: str) -> list[str]:
        """The keys of a binding, which may be the user's own."""
        app = self.app
        return (app.keys_of(name, default) if isinstance(app, LookApp) else default).split(",")

    def action_submit(self) -> None:
        """Send the text, if it is time to; a message of nothing but white space is no message."""
        text = self.text
        if not text.strip():
            return
        if is_command(text):
            line = self._folds.unfold(text)
            self._orders.append((line, self.draft))
            self._leave(text)
            self.post_message(self.Commanded(line))
            return
        if not self.accepting:
            self.post_message(self.Refused())
            return
        self.accepting = False
        message = message_of(self.message) if text.startswith("//") else self.message
        self._outgoing = self.draft
        self._leave(message)
        self.post_message(self.Submitted(message))

    def _leave(self, sent: str) -> None:
        self._close_ways()
        self.clear()
        if not self._sent or self._sent[-1] != sent:
            self._sent.append(sent)
        self._place = len(self._sent)
        self._written.clear()
        aside, self._aside = self._aside, Draft()
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

    # Messages that were sent before

    def remember(self, sent: Sequence[str]) -> None:
        """Put messages that were sent earlier before those that were sent from here."""
        self._sent[:0] = sent
        self._written = {place + len(sent): draft for place, draft in self._written.items()}
        self._place += len(sent)

    def action_cursor_up(self, select: bool = False) -> None:
        """Go up; in the first line, to the message that was sent before."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif self._place > 0:
            self._recall(self._place - 1)
        elif not self.text:
            self.post_message(self.Left())
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Go down; in the last line, to the message that was sent after."""
        at_end = self.navigator.is_last_wrapped_line(self.cursor_location)
        if not select and at_end and self._place < len(self._sent):
            self._recall(self._place + 1)
        else:
            super().action_cursor_down(select)

    def _recall(self, place: int) -> None:
        """Show a message of those that were sent, or the draft after the last; what was changed here is kept."""
        self._written[self._place] = self.draft
        self._place = place
        self._close_ways()
        if place in self._written:
            self._load(self._written[place].text)
        else:
            sent = self._sent[place]
            self._load(self._folds.fold_long(sent))

    # Text from elsewhere

    def send_off(self, line: str) -> None:
        """Take a command that says something in the chat for what is on its way, as a message is from Enter on."""
        self._outgoing = self.end_command(line)

    def end_command(self, line: str) -> Draft:
        """A command is obeyed, or was refused: nothing in it can be lost any more. Returns it as it was written."""
        for number, (ordered, draft) in enumerate(self._orders):
            if ordered == line:
                del self._orders[number]
                return draft
        return Draft()

    def let_go(self) -> None:
        """What was on its way is in the chat."""
        self._outgoing = Draft()

    def take_back(self) -> bool:
        """Give back what was on its way, in front of what has been written since; whether there was anything."""
        draft, self._outgoing = self._outgoing, Draft()
        self.add_draft(draft)
        return bool(draft.text)

    def restore(self, text: str) -> None:
        """Give back a message that could not be sent, in front of what has been written since."""
        text = self._folds.fold_long(f"/{text}" if text.startswith("/") else text)
        self._put_before(text)

    def give_back(self, line: str) -> None:
        """Give back a command that could not be obeyed, in front of what has been written since."""
        self._put_before(line)

    def show_draft(self, draft: Draft) -> None:
        """Show a draft in the place of what is written."""
        self._folds = Folds(draft.pieces)
        self._written.clear()
        self._place = len(self._sent)
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

    @property
    def lent(self) -> bool:
        """Whether a message that was sent is edited here, while the draft of the chat waits."""
        return self._waiting is not None

    def lend(self, message: str) -> None:
        """Let a message that was sent be edited here; the draft waits."""
        self._waiting = self._waiting or self.draft
        self._load(self._folds.fold_long(message))
        self._lent = self.text

    def end_loan(self) -> None:
        """Show the draft again that waited."""
        if self._waiting is not None:
            draft, self._waiting = self._waiting, None
            self.show_draft(draft)

    def show_command(self, line: str) -> None:
        """Begin a command; what was written waits until it is obeyed, and Up goes back to it."""
        if self.text.strip() and not is_command(self.text):
            self._aside = joined(self._aside, self.draft)
            self._sent.append(self.message)
            self._place = len(self._sent)
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
        return super().edit(edit)

    def _outside(self, location: Location, *, after: bool) -> Location:
        line, column = location
        if line >= self.document.line_count:  # deleting at the end reaches for a line that is not there
            return location
        for start, end in self._folds.spans(self.document.get_line(line)):
            if start < column < end:
                return line, end if after else start
        return location

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: labels are told from what was typed."""
        text = super().get_line(line_index)
        for start, end in self._folds.spans(text.plain):
            text.stylize("bold", start, end)
        return text

    # The edge

    def hint(self, words: str, *, short: str = "", urgent: bool = False) -> None:
        """Show a few words on the lower edge; they must be edgechat's own, not a user's or a model's.

        Args:
            words: The words, translated; empty for none.
            short: What is shown where there is no room for them.
            urgent: Whether they say why something was not done.
        """
        self._hint, self._hint_urgent = (words, short or words), urgent
        self._show_edge()

    def measure(self, words: str, *, short: str = "", urgent: bool = False) -> None:
        """Show on the lower edge how long the message is, while there is no hint; see there."""
        self._measure, self._measure_urgent = (words, short or words), urgent
        self._show_edge()

    def _show_edge(self) -> None:
        words, short = self._hint if self._hint[0] else self._measure
        self.border_subtitle = words if cell_len(words) <= self.outer_size.width - EDGE else short
        self.set_class(self._hint_urgent if self._hint[0] else self._measure_urgent, "-urgent")

    def on_resize(self, event: events.Resize) -> None:
        """Teach as much as there is room for."""
        short = event.size.width < len(_(LONG_PLACEHOLDER)) + 2
        self.placeholder = Content(_(SHORT_PLACEHOLDER) if short else _(LONG_PLACEHOLDER))
        self._show_edge()
