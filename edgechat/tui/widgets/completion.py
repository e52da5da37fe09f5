"""A text area in which commands are completed, by the list above it.

The list is made while the user writes on, so that it may be behind; a key that chooses from it first sees to it that it
is not. What takes time, such as looking into folders, is looked up in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import on
from textual.message import Message
from textual.widgets._text_area import TextArea

from edgechat.slash import is_command
from edgechat.tui.rtl import DirectedTextArea
from edgechat.tui.widgets.suggestions import Choice, Suggestions

if TYPE_CHECKING:
    from textual.document._document import EditResult
    from textual.document._edit import Edit

    from edgechat.slash.commands import Completion, Completions


class CompletingTextArea(DirectedTextArea):
    """The text, and the list of ways to go on with it.

    Attributes:
        suggestions: The list above, whose keys come here.
    """

    @dataclass
    class Completed(Message):
        """Ways to go on with a command were looked up.

        Attributes:
            begun: The command up to the cursor, as it was then.
            found: The ways.
        """

        begun: str
        found: Completions

    def __init__(self, suggestions: Suggestions, **options: Any) -> None:
        """Make the text area.

        Args:
            suggestions: The list above it.
            **options: See `TextArea`.
        """
        super().__init__(**options)
        self.suggestions = suggestions
        self._offered: str | None = None

    def action_submit(self) -> None:
        """Send the text."""
        raise NotImplementedError

    def edit(self, edit: Edit) -> EditResult:
        """Change the text; whoever writes on leaves the files that were dropped."""
        if self._offered is None:
            self.suggestions.offer(())
        return super().edit(edit)

    def _choose(self, key: str) -> bool:
        """Let the list above have a key; whether it was one of its."""
        match key:
            case "up" | "down":
                self.suggestions.move(-1 if key == "up" else 1)
            case "tab" | "enter":
                choice = self.suggestions.choices[self.suggestions.marked]
                self.suggestions.offer(())
                choice.act(key == "enter")
            case "escape":
                self.suggestions.offer(())
            case _:
                return False
        return True

    @on(TextArea.Changed)
    def _complete(self) -> None:
        begun = self._offer_at_once()
        if begun is not None:
            self.run_worker(self._look_up(begun), name="complete", group="complete")

    def _offer_at_once(self) -> str | None:
        """Offer what takes no time to find; the begun command whose ways are still to be looked up, None for none."""
        begun = self._begun_command()
        if begun == self._offered:
            return None
        if begun is None:
            self._close_ways()
            return None
        from edgechat.slash.commands import complete, is_quick  # nothing of it is needed for the first paint

        if not is_quick(begun):
            return begun
        self._offer(begun, complete(begun))
        return None

    async def _look_up(self, begun: str) -> None:
        from edgechat.slash.commands import complete

        self.post_message(self.Completed(begun, await asyncio.to_thread(complete, begun)))

    @on(Completed)
    def _show_found(self, message: Completed) -> None:
        message.stop()
        if message.begun == self._begun_command() != self._offered:
            self._offer(message.begun, message.found)

    async def _catch_up(self, key: str) -> None:
        """See to it that what is offered is for what is written: keys may come faster than the list is made."""
        begun = self._offer_at_once()
        if begun is None:
            return
        if key == "tab":
            from edgechat.slash.commands import complete

            self._offer(begun, await asyncio.to_thread(complete, begun))
        else:
            self._close_ways()

    def _begun_command(self) -> str | None:
        """The command up to the cursor; None where none is written."""
        text = self.text
        return text[: self.cursor_location[1]] if is_command(text) and "\n" not in text else None

    def _close_ways(self) -> None:
        self._offered = None
        self.suggestions.offer(())

    def _offer(self, begun: str, found: Completions) -> None:
        self._offered = begun
        items = found.items
        if [item.text for item in items] == [begun[found.start :]]:
            items = ()  # nothing to add
        self.suggestions.offer(
            [Choice(item.text.rstrip(), item.help, partial(self._accept, found.start, item)) for item in items]
        )

    def _accept(self, start: int, item: Completion, send: bool) -> None:
        end = self.cursor_location
        exact = self.text[start : end[1]] == item.text.rstrip()
        if not exact or not send:
            self.replace(item.text, (0, start), end, maintain_selection_offset=False)
            self.move_cursor((0, start + len(item.text)))
        if send and (exact or item.whole):
            self.action_submit()
