"""Short words of edgechat itself within the conversation: errors with their next step, notices, quiet marks.

Everything shown here is text. Errors quote paths, model output and other programs, none of which may be read as markup
or reach the terminal as an escape sequence.
"""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from edgechat.chat.conversation import Reply, ReplyState, Turn
from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError, EngineError, FaultError, ModelError, RequestError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error, translate_stored_error
from edgechat.tui import glyphs
from edgechat.tui.rtl import DirectedText
from edgechat.tui.themes import MUTED

CARD_ACTIONS: tuple[tuple[type[EdgechatError], str, str], ...] = (
    (ModelError, N_("Try again"), "app.load"),
    (ModelError, N_("Models (F10)"), "app.models"),
    (FaultError, N_("Doctor"), "app.doctor"),
    (EngineError, N_("Log (F12)"), "app.log"),
    (FaultError, N_("Log (F12)"), "app.log"),
)
"""What can be done at once about an error of a kind; the keys work wherever one is."""


class ErrorCard(DirectedText):
    """What went wrong, why, and what to do next."""

    def __init__(self, error: EdgechatError, *, passing: bool = False) -> None:
        """A card for one error.

        Args:
            error: The failure.
            passing: Whether the card goes away once something works again.
        """
        lines = [Content.styled(printable(translate_error(error.title)), "bold $text-error")]
        if error.message:
            lines.append(Content(printable(translate_error(error.message))))
        if error.hint:
            lines.append(Content.styled(printable(translate_error(error.hint)), MUTED))
        links = [
            Content.styled(_(words), Style.from_meta({"@click": action}) + Style(underline=True))
            for kind, words, action in CARD_ACTIONS
            if isinstance(error, kind) and not isinstance(error, RequestError)
        ]
        if links:
            lines.append(Content("   ").join(links))
        super().__init__(Content("\n").join(lines), classes="-passing" if passing else "")


class Notice(DirectedText):
    """A few words about a message or about the whole session."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(printable(words)))


class Mark(Static):
    """The quiet line under a reply that did not end by itself."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(f"{glyphs.STOPPED} {printable(words)}"))


class Facts(Static):
    """The quiet line under a turn: which of several versions it is, what the reader thought of it."""

    def __init__(self, words: str) -> None:
        super().__init__(Content(printable(words)))


def facts_of(turn: Turn) -> str:
    """What is told under a turn; empty where there is one version of it and nobody said anything about it."""
    parts = []
    if len(turn.siblings) > 1 and turn.id in turn.siblings:
        place = turn.siblings.index(turn.id) + 1
        parts.append(_("message {n} of {total}").format(n=place, total=len(turn.siblings)))
    if len(turn.replies) > 1:
        place = turn.active % len(turn.replies) + 1
        parts.append(_("reply {n} of {total}").format(n=place, total=len(turn.replies)))
    marks = [f"{glyphs.PREVIOUS} {', '.join(parts)} {glyphs.NEXT}"] if parts else []
    if (reply := turn.reply) is not None:
        if reply.rating:
            marks.append(f"{glyphs.LIKED} {_('liked')}" if reply.rating > 0 else f"{glyphs.DISLIKED} {_('disliked')}")
        if reply.note:
            marks.append(f"{glyphs.NOTE} {' '.join(reply.note.split())}")
    if turn.pinned:
        marks.append(f"{glyphs.PIN} {_('always sent')}")
    return f" {glyphs.DOT} ".join(marks)


def mark_of(reply: Reply) -> str:
    """The words for how a reply ended; empty for one that is complete."""
    match reply.state:
        case ReplyState.STOPPED:
            return _("stopped")
        case ReplyState.INTERRUPTED if reply.error:
            return _("interrupted: {cause}").format(cause=translate_stored_error(reply.error))
        case ReplyState.INTERRUPTED | ReplyState.STREAMING:
            return _("interrupted: the program ended while this was written")
        case ReplyState.LENGTH:
            return _("cut at the length limit")
        case ReplyState.FAILED:
            return (
                _("failed: {cause}").format(cause=translate_stored_error(reply.error)) if reply.error else _("failed")
            )
        case ReplyState.COMPLETE:
            return "" if reply.text.strip() else _("the model answered with nothing")
