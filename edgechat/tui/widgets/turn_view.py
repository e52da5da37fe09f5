"""One turn: what the user wrote, exactly, and the reply under it.

A turn view shows facts it is given. It never asks the session, and never reads a user's or a model's text as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from edgechat.chat.conversation import Reply, Turn
from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _
from edgechat.tui import glyphs
from edgechat.tui.rtl import DirectedText
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.blank_container import Ground
from edgechat.tui.widgets.notices import ErrorCard, Facts, Mark, Notice, facts_of, mark_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgechat.tui.widgets.reply_view import ReplyView

SHOWN_LINES = 40
"""Lines of a long message that are shown until it is unfolded."""
SHOWN_CHARACTERS = 4_000


class UserText(DirectedText):
    """The user's message with its line breaks and spaces; a very long one is folded, and a click unfolds it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = _head(text) != text
        super().__init__(self._content())

    def on_click(self) -> None:
        """Fold or unfold a long message, unless the click ended a selection."""
        if _head(self.text) != self.text and not self.screen.get_selected_text():
            self.folded = not self.folded
            self.update(self._content())

    def _content(self) -> Content:
        if not self.folded:
            return Content(printable(self.text))
        head = _head(self.text)
        rest = len(self.text) - len(head)
        return Content.assemble(
            printable(head.rstrip("\n")),
            "\n",
            (_("{sign} {n} more characters, click to unfold").format(sign=glyphs.ELLIPSIS, n=f"{rest:,}"), MUTED),
        )


def _head(text: str) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) > SHOWN_LINES + 5:
        text = "".join(lines[:SHOWN_LINES])
    return text[:SHOWN_CHARACTERS] if len(text) > SHOWN_CHARACTERS + 500 else text


class TurnView(Ground):
    """A user message and its reply."""

    def __init__(self, turn: Turn, *, live: bool = False, notices: Sequence[str] = ()) -> None:
        """Make the view of a turn.

        Args:
            turn: The turn as it is stored.
            live: Whether its reply is about to be written.
            notices: Words for the user about the message.
        """
        super().__init__()
        self.turn = turn
        self._live = live
        self._notices = tuple(notices)
        self._reply: ReplyView | None = None
        self._waiting = Static(Content(glyphs.ELLIPSIS), classes="waiting")

    def compose(self) -> ComposeResult:
        """The message, and what is there of the reply."""
        yield UserText(self.turn.user)
        for words in self._notices:
            yield Notice(words)
        if self._live:
            yield self._waiting
        elif (reply := self.turn.reply) is not None:
            if reply.text:
                yield self._view(reply.text)
            if words := mark_of(reply):
                yield Mark(words)
        if not self._live and (words := facts_of(self.turn)):
            yield Facts(words)

    @property
    def reply_text(self) -> str:
        """What the reply says so far, as it is shown."""
        return self._reply.source if self._reply is not None else ""

    def write(self, fragment: str) -> None:
        """Add the next characters to the reply."""
        if self._reply is None:
            self._waiting.remove()
            self._reply = self._view("", streaming=True)
            self.mount(self._reply)
        self._reply.feed(fragment)

    async def tell(self, words: str) -> None:
        """Show a few words of edgechat, above what comes next."""
        await self.mount(Notice(words), before=self._waiting if self._waiting.parent is not None else None)

    async def close(self, reply: Reply | None, error: EdgechatError | None = None) -> None:
        """End the reply.

        Args:
            reply: How it is stored now, if it is.
            error: Why it failed; shown in place of the quiet mark.
        """
        await self._waiting.remove()
        if self._reply is not None:
            await self._reply.finish()
        if error is not None:
            await self.mount(ErrorCard(error))
        elif reply is not None and (words := mark_of(reply)):
            await self.mount(Mark(words))

    async def tell_facts(self, turn: Turn) -> None:
        """The turn is this by now; say what is to be said of it."""
        self.turn = turn
        words = facts_of(turn)
        told = next(iter(self.query_children(Facts)), None)
        if told is not None and words:
            told.update(Content(printable(words)))
        elif told is not None:
            await told.remove()
        elif words:
            await self.mount(Facts(words))

    def _view(self, text: str, *, streaming: bool = False) -> ReplyView:
        from edgechat.tui.widgets.reply_view import ReplyView  # a fifth of the start-up; nothing needs it before

        self._reply = ReplyView(text, streaming=streaming)
        return self._reply
