"""Messages that were sent, recalled one after the other, and what was written while going through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgechat.history.drafts import Draft


class SentHistory:
    """The messages that were sent, the oldest first, and a place among them; after the last one is the draft."""

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._place = 0
        self._written: dict[int, Draft] = {}

    @property
    def at_oldest(self) -> bool:
        """Whether there is no earlier message."""
        return self._place == 0

    @property
    def at_draft(self) -> bool:
        """Whether there is no later message."""
        return self._place >= len(self._sent)

    def prepend(self, sent: Sequence[str]) -> None:
        """Put messages that were sent earlier before those that are here; the place stays at the same message."""
        self._sent[:0] = sent
        self._written = {place + len(sent): draft for place, draft in self._written.items()}
        self._place += len(sent)

    def append(self, message: str) -> None:
        """Add a message, and go to the draft after it."""
        self._sent.append(message)
        self._place = len(self._sent)

    def add_sent(self, message: str) -> None:
        """Add a message that was just sent, unless it is the last one already, and start a new draft."""
        if not self._sent or self._sent[-1] != message:
            self._sent.append(message)
        self.reset()

    def reset(self) -> None:
        """Go to the draft, and forget what was written elsewhere."""
        self._place = len(self._sent)
        self._written.clear()

    def recall(self, by: int, written: Draft) -> Draft | str:
        """Go to another place.

        Args:
            by: How many messages further; there has to be such a place.
            written: What is written here; it is there again when somebody comes back.

        Returns:
            What was written there, or else the message that was sent.
        """
        self._written[self._place] = written
        self._place += by
        draft = self._written.get(self._place)
        return draft if draft is not None else self._sent[self._place]

    def unsent(self, written: Draft, unfold: Callable[[str], str]) -> Iterator[Draft]:
        """What was written at each place and is not just the message that was sent.

        Args:
            written: What is written here.
            unfold: Gives a text with what is folded in it.
        """
        for place, draft in sorted({**self._written, self._place: written}.items()):
            if place >= len(self._sent) or unfold(draft.text) != self._sent[place]:
                yield draft
