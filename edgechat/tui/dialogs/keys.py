"""The keys, over the chat: each can be given another one, which is written into the settings at once.

A key that something else has is refused; everything else about keys is in `tui.keys`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error
from edgechat.tui.dialogs.base import Card
from edgechat.tui.keys import Entry, entries, key_words, keys_of, problems

if TYPE_CHECKING:
    from edgechat.tui.live_settings import LiveSettings


class KeysScreen(Card[None]):
    """All keys, to be changed."""

    DEFAULT_CSS = """
    KeysScreen OptionList {
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete", "reset", N_("Default"), id="keys.reset", tooltip=N_("Give it its own key again")),
    ]

    def __init__(self, live: LiveSettings) -> None:
        """Make the list.

        Args:
            live: The settings in force, with the user's own keys.
        """
        super().__init__(_("Keys"), N_("Enter changes a key, Del takes it back, Esc closes"), wide=True)
        self._live = live
        self._entries = entries()

    def body(self) -> Iterable[Widget]:
        """The keys, and what they do."""
        yield OptionList(*(self._line(entry) for entry in self._entries))

    def _line(self, entry: Entry) -> Content:
        own = self._live.current.config.keys
        most, width = (0, 24) if self.app.size.width >= 60 else (1, 9)
        keys = key_words(keys_of(entry, own), most)
        mark = "*" if entry.id in own else " "
        return Content.assemble((f"{mark} {keys:<{width}} ", "bold"), _(entry.about))

    @property
    def _list(self) -> OptionList:
        return self.query_one(OptionList)

    def on_mount(self) -> None:
        """Begin at the first."""
        self._list.highlighted = 0
        self._list.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        entry = self._entries[message.option_index]

        def take(key: str | None) -> None:
            if key is not None:
                self._change(entry, key)

        self.app.push_screen(PressScreen(entry, self._live.current.config.keys), take)

    def action_reset(self) -> None:
        """Give what is chosen its own key again."""
        if self._list.highlighted is not None:
            self._change(self._entries[self._list.highlighted], None)

    def _change(self, entry: Entry, key: str | None) -> None:
        self.run_worker(self._save(entry, key), name="keys", group="keys")

    async def _save(self, entry: Entry, key: str | None) -> None:
        from edgechat.settings.writer import save

        before = self._live.current.config.keys
        keys = {name: wanted for name, wanted in before.items() if name != entry.id}
        if key is not None:
            keys[entry.id] = key
        if new := [words for words in problems(keys) if words not in problems(before)]:
            self.app.notify(printable(new[0]), severity="error", timeout=10, markup=False)
            return
        try:
            await asyncio.to_thread(save, {"keys": keys})
            self._live.apply(await asyncio.to_thread(self._live.read))
        except EdgechatError as error:
            self.app.notify(
                printable(format_error(error.title, error.message)), severity="error", timeout=20, markup=False
            )
            return
        for lines in self.query(OptionList):  # none where the card was closed meanwhile
            lines.replace_option_prompt_at_index(self._entries.index(entry), self._line(entry))


class PressScreen(Card[str]):
    """Waits for a key, and answers with it."""

    def __init__(self, entry: Entry, own: Mapping[str, str]) -> None:
        """Ask for a key.

        Args:
            entry: What the key is to do.
            own: The user's own keys.
        """
        super().__init__(_(entry.about), N_("Press the new key; Esc leaves it as it is"))
        self._entry = entry
        self._own = own

    def body(self) -> Iterable[Widget]:
        """What it has now."""
        keys = key_words(keys_of(self._entry, self._own), 0)
        yield Static(Content(_("Now: {keys}").format(keys=keys)))

    def on_key(self, event: events.Key) -> None:
        """Take the key."""
        if event.key != "escape":
            event.stop()
            event.prevent_default()
            self.dismiss(event.key)
