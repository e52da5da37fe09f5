"""Completes commands in a text area, with the list above it.

The list is made while the user writes on, so that it may be behind; a key that chooses from it first sees to it that it
is not. What takes time, such as looking into folders, is looked up in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widgets._text_area import TextArea

from edgechat.slash import is_command
from edgechat.tui.widgets.suggestions import Choice, Suggestions

if TYPE_CHECKING:
    from edgechat.slash.completion import Completion, Completions


@dataclass
class CompletionsFound(Message):
    """Ways to go on with a command were looked up.

    Attributes:
        command: The command up to the cursor, as it was then.
        found: The ways.
    """

    command: str
    found: Completions


class CommandCompletion:
    """Offers ways to go on with the command in a text area."""

    def __init__(self, area: TextArea, suggestions: Suggestions, submit: Callable[[], None]) -> None:
        """Offer nothing yet.

        Args:
            area: Where commands are written; what is looked up is posted to it.
            suggestions: The list above it.
            submit: Sends what is written.
        """
        self._area = area
        self._suggestions = suggestions
        self._submit = submit
        self._offered: str | None = None

    @property
    def command(self) -> str | None:
        """The command up to the cursor; None where none is written."""
        text = self._area.text
        return text[: self._area.cursor_location[1]] if is_command(text) and "\n" not in text else None

    def text_edited(self) -> None:
        """Take away what was offered about files that were dropped: the user writes on instead."""
        if self._offered is None:
            self._suggestions.offer(())

    def choose(self, key: str) -> bool:
        """Let the list have a key while it is there. Returns whether the key was one of its."""
        if not self._suggestions.choices:
            return False
        match key:
            case "up" | "down":
                self._suggestions.move(-1 if key == "up" else 1)
            case "tab" | "enter":
                choice = self._suggestions.choices[self._suggestions.marked]
                self._suggestions.offer(())
                choice.act(key == "enter")
            case "escape":
                self._suggestions.offer(())
            case _:
                return False
        return True

    def update(self) -> None:
        """Offer ways to go on with what is written now, at once or once they are looked up."""
        command = self._offer_at_once()
        if command is not None:
            self._area.run_worker(self._look_up(command), name="complete", group="complete")

    def _offer_at_once(self) -> str | None:
        """Offer what takes no time to find; the command whose ways are still to be looked up, None for none."""
        command = self.command
        if command == self._offered:
            return None
        if command is None:
            self.close()
            return None
        from edgechat.slash.completion import complete, is_quick  # nothing of it is needed for the first paint

        if not is_quick(command):
            return command
        self._offer(command, complete(command))
        return None

    async def _look_up(self, command: str) -> None:
        from edgechat.slash.completion import complete

        self._area.post_message(CompletionsFound(command, await asyncio.to_thread(complete, command)))

    def show_found(self, message: CompletionsFound) -> None:
        """Offer what was looked up, unless something else is written by now."""
        if message.command == self.command != self._offered:
            self._offer(message.command, message.found)

    async def catch_up(self, key: str) -> None:
        """See to it that what is offered is for what is written: keys may come faster than the list is made."""
        command = self._offer_at_once()
        if command is None:
            return
        if key == "tab":
            from edgechat.slash.completion import complete

            self._offer(command, await asyncio.to_thread(complete, command))
        else:
            self.close()

    def close(self) -> None:
        """Offer nothing any more."""
        self._offered = None
        self._suggestions.offer(())

    def _offer(self, command: str, found: Completions) -> None:
        self._offered = command
        items = found.items
        if [item.text for item in items] == [command[found.start :]]:
            items = ()  # nothing to add
        self._suggestions.offer(
            [Choice(item.text.rstrip(), item.help, partial(self._accept, found.start, item)) for item in items]
        )

    def _accept(self, start: int, item: Completion, send: bool) -> None:
        area = self._area
        end = area.cursor_location
        exact = area.text[start : end[1]] == item.text.rstrip()
        if not exact or not send:
            area.replace(item.text, (0, start), end, maintain_selection_offset=False)
            area.move_cursor((0, start + len(item.text)))
        if send and (exact or item.whole):
            self._submit()
