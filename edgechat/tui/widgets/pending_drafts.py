"""What was written and is neither seen in the composer nor stored in a chat yet. Nothing of it may be lost.

That is a message on its way into the history, commands that are being obeyed, and drafts that wait while a command is
written or a message that was sent is edited.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgechat.history.drafts import Draft, joined


class PendingDrafts:
    """Drafts that are on their way, or wait for their turn."""

    def __init__(self) -> None:
        self._outgoing = Draft()
        self._commands: list[tuple[str, Draft]] = []
        self._aside = Draft()
        self._waiting: Draft | None = None
        self._edited = ""

    # On their way

    def send(self, draft: Draft) -> None:
        """A message is on its way into the history."""
        self._outgoing = draft

    def stored(self) -> None:
        """What was on its way is in the history."""
        self._outgoing = Draft()

    def take_back(self) -> Draft:
        """What was on its way and will not arrive; empty if there was nothing."""
        draft, self._outgoing = self._outgoing, Draft()
        return draft

    def start_command(self, line: str, draft: Draft) -> None:
        """A command is being obeyed.

        Args:
            line: The command, with all that was folded in it.
            draft: The command as it was written.
        """
        self._commands.append((line, draft))

    def end_command(self, line: str) -> Draft:
        """A command was obeyed or refused. Returns it as it was written."""
        for number, (running, draft) in enumerate(self._commands):
            if running == line:
                del self._commands[number]
                return draft
        return Draft()

    def send_command(self, line: str) -> None:
        """A command says something in the chat: it is on its way, as a message is."""
        self._outgoing = self.end_command(line)

    # Waiting

    def set_aside(self, draft: Draft) -> None:
        """Let a draft wait while a command is written."""
        self._aside = joined(self._aside, draft)

    def take_aside(self) -> Draft:
        """What waited while a command was written."""
        draft, self._aside = self._aside, Draft()
        return draft

    @property
    def editing(self) -> bool:
        """Whether a message that was sent is being edited while the draft waits."""
        return self._waiting is not None

    def start_edit(self, draft: Draft) -> None:
        """Let the draft wait while a message that was sent is edited; one that waits already goes on waiting."""
        self._waiting = self._waiting or draft

    def edit_shown(self, text: str) -> None:
        """Note how the message looks before anything in it is changed."""
        self._edited = text

    def end_edit(self) -> Draft | None:
        """The draft that waited; None if no message was edited."""
        draft, self._waiting = self._waiting, None
        return draft

    # All of it

    def with_commands(self, rest: Draft) -> Draft:
        """The commands that are being obeyed, and then the rest."""
        return joined(*(draft for _line, draft in self._commands), rest)

    def with_shown(self, shown: Draft, unsent: Iterable[Draft]) -> Draft:
        """All but the commands, with what the composer shows.

        Args:
            shown: What the composer shows.
            unsent: What was written there, or instead of the messages that were sent before.
        """
        if self._waiting is not None:
            changed = shown if shown.text != self._edited else Draft()
            return joined(self._outgoing, changed, self._waiting, self._aside)
        return joined(self._outgoing, *unsent, self._aside)
