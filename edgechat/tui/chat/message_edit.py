"""Editing a message that was sent: it is in the composer while the draft waits, and is sent as another version."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from edgechat.i18n.catalog import _

if TYPE_CHECKING:
    from edgechat.chat.conversation import Turn
    from edgechat.session.session import Session, SessionEvent
    from edgechat.tui.widgets.composer import Composer


class MessageEdit:
    """Which message is being edited, if any."""

    def __init__(self, session: Session, composer: Composer) -> None:
        """Edit nothing yet.

        Args:
            session: Whose messages they are.
            composer: Where they are edited.
        """
        self._session = session
        self._composer = composer
        self._turn: int | None = None

    @property
    def active(self) -> bool:
        """Whether a message is being edited."""
        return self._turn is not None

    def start(self, turn: Turn) -> None:
        """Take a message of the branch that is shown into the composer; what was written there waits."""
        self._turn = turn.id
        self._composer.start_edit(turn.user)
        self._composer.focus()
        last = turn.id == self._session.conversation.turns[-1].id
        words = _("editing the last message; Esc leaves it as it is")
        words = words if last else _("editing an earlier message; Esc leaves it as it is")
        self._composer.edge.hint(words, short=_("editing; Esc leaves it as it is"))

    def cancel(self) -> None:
        """Leave the message as it is, and show the draft again."""
        self._end()
        self._composer.edge.hint("")

    def send(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """What the session does with a message: it takes the place of the one that was edited, or is the next one."""
        turn = self._turn
        if turn is None:
            return self._session.send(text)
        self._end()
        return self._session.edit(turn, text)

    def _end(self) -> None:
        self._turn = None
        self._composer.end_edit()
