"""Short words of edgechat itself within the conversation: errors with their next step, notices, quiet marks.

Everything shown here is text. Errors quote paths, model output and other programs, none of which may be read as markup
or reach the terminal as an escape sequence.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from edgechat.chat.conversation import Reply, ReplyState, Turn
from edgechat.chat.text import printable
from edgechat.errors import EdgechatError
from edgechat.i18n import told
from edgechat.tui import glyphs
from edgechat.tui.direction import DirectedText
from edgechat.tui.themes import MUTED


class ErrorCard(DirectedText):
    """What went wrong, why, and what to do next."""

    def __init__(self, error: EdgechatError, *, passing: bool = False) -> None:
        """A card for one error.

        Args:
            error: The failure.
            passing: Whether the card goes away once something works again.
        """
        lines = [Content.styled(printable(told(error.title)), "bold $text-error")]
        if error.message:
            lines.append(Content(printable(told(error.message))))
        if error.hint:
            lines.append(Content.styled(printable(told(error.hint)), MUTED))
        super().__init__(Content("\n").join(lines), classes="-passing" if passing else "")


class Notice(DirectedText):
    """A few words about a message or about the whole session."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(printable(words)))


class Mark(Static):
    """The quiet line under a reply that did not end by itself."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(f"{glyphs.STOPPED} {printable(words)}"))


class Version(Static):
    """The quiet line under a turn of which there are several versions."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(words))


def version_of(turn: Turn) -> str:
    """Which of its siblings a message is, and which of its replies is shown; empty where there is one of each."""
    parts = []
    if len(turn.siblings) > 1 and turn.id in turn.siblings:
        parts.append(f"message {turn.siblings.index(turn.id) + 1} of {len(turn.siblings)}")
    if len(turn.replies) > 1:
        parts.append(f"reply {turn.active % len(turn.replies) + 1} of {len(turn.replies)}")
    return f"{glyphs.PREVIOUS} {', '.join(parts)} {glyphs.NEXT}" if parts else ""


def mark_of(reply: Reply) -> str:
    """The words for how a reply ended; empty for one that is complete."""
    match reply.state:
        case ReplyState.STOPPED:
            return "stopped"
        case ReplyState.INTERRUPTED if reply.error:
            return f"interrupted: {reply.error}"
        case ReplyState.INTERRUPTED | ReplyState.STREAMING:
            return "interrupted: the program ended while this was written"
        case ReplyState.LENGTH:
            return "cut at the length limit"
        case ReplyState.FAILED:
            return f"failed: {reply.error}" if reply.error else "failed"
        case _:
            return "" if reply.text.strip() else "the model answered with nothing"
