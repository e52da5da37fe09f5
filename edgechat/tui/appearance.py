"""The app's looks and keys as the settings and the terminal have them.

What is drawn passes the filters chosen here last of all. A change of the settings takes effect at once; nothing here
knows the chat.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from textual import events
from textual.app import App
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _, format_error, right_to_left
from edgechat.settings.loader import Settings
from edgechat.tui import glyphs, rtl
from edgechat.tui.minimum_width import allow_any_width
from edgechat.tui.terminal.key_order import InputOrder
from edgechat.tui.terminal.line_filters import Colourless, Simplified, Visible
from edgechat.tui.themes import MONO, fitting_theme, own_themes, without_colour
from edgechat.tui.widget_removal import remove_whole

if TYPE_CHECKING:
    from textual.await_remove import AwaitRemove
    from textual.dom import DOMNode
    from textual.driver import Driver
    from textual.message import Message
    from textual.theme import Theme
    from textual.widget import Widget
    from textual.worker import Worker


SAVES = ("save", "keys")
"""Workers of cards that write a file and then say so."""


class LookApp(App[None]):
    """An app in edgechat's colours.

    Attributes:
        settings: Those in force.
    """

    def __init__(self, settings: Settings) -> None:
        """Make the app.

        Args:
            settings: For its theme, its motion and its keys.
        """
        allow_any_width()
        remove_whole()
        self._order = InputOrder(self, super().post_message)
        super().__init__()
        self.settings = settings
        self.no_color = without_colour(os.environ)
        rtl.use(settings.config.bidi, os.environ)
        kept = [each for each in self._filters if not isinstance(each, (Monochrome, NoColor))]
        # In this order: what is made visible has a width, and a sign is put in its place before it becomes another.
        self._filters = [Visible(), rtl.Reordered(), *kept]
        if self.no_color:
            self._filters.append(Colourless())
        if glyphs.LEVEL != "unicode":
            self._filters.append(Simplified(glyphs.LEVEL))
        self._own_themes = own_themes(few_colours=self.console.color_system in ("standard", "windows"))
        self.set_reactive(App.theme, self.wanted_theme(settings.config.theme))
        self.stylesheet.set_variables(self.get_css_variables())
        self._obey()

    def get_driver_class(self) -> type[Driver]:
        """Edgechat's own driver, where there is one for the system."""
        if os.name != "posix" or os.environ.get("TEXTUAL_DRIVER"):
            return super().get_driver_class()
        from edgechat.tui.terminal.driver import TerminalDriver  # of modules that other systems do not have

        return TerminalDriver

    # Keys

    def post_message(self, message: Message) -> bool:
        """Take a message; what comes from the terminal takes its turn."""
        if self._order.takes(message):
            self._order.add(message)
            return True
        return super().post_message(message)

    async def on_event(self, event: events.Event) -> None:
        """Handle an event."""
        if self._order.takes(event):
            event = self._order.aim(event)
        await super().on_event(event)

    # Coming and going

    def _prune(self, *nodes: Widget, parent: DOMNode | None = None) -> AwaitRemove:
        """Take parts of the interface away. What they were finding out to show it ends before any of them is gone.

        Textual ends it when all within is gone already, and what came of it in between would find nothing to be shown
        in: a fault, where somebody only left.
        """
        gone = {part for node in nodes for part in node.walk_children(with_self=True)}
        ours = asyncio.current_task()
        for worker in list(self.workers):
            if worker.node in gone and worker._task is not ours and not self._outlasts(worker):
                worker.cancel()
        return super()._prune(*nodes, parent=parent)

    def _outlasts(self, worker: Worker[Any]) -> bool:
        """Whether something is done rather than found out: a chat goes on, and settings are written."""
        return (isinstance(worker.node, Screen) and not worker.node.is_modal) or worker.name in SAVES

    # Looks

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Edgechat's own themes and those of Textual."""
        return {**self.__dict__.get("_own_themes", {}), **super().available_themes}

    def wanted_theme(self, name: str | None = None) -> str:
        """The name of the theme to use.

        Args:
            name: One that is asked for; None is what the terminal asks for.
        """
        if self.no_color:
            return MONO.name
        return name if name in self.available_themes else fitting_theme(os.environ)

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self.settings = settings
        self.theme = self.wanted_theme(settings.config.theme)
        self._obey()

    def _obey(self) -> None:
        config = self.settings.config
        self.animation_level = "none" if config.reduced_motion else "full"
        if config.keys or self._keymap:
            from edgechat.tui.keys import keymap  # for those who have keys of their own

            self.set_keymap(keymap(config.keys))

    def keys_of(self, name: str, default: str) -> str:
        """The keys that something has now, separated by commas, for widgets that look at keys themselves.

        Args:
            name: The id of its binding.
            default: The binding's own keys.
        """
        return self._keymap.get(name, default)

    def on_mount(self) -> None:
        """Tell what is wrong with the look that was asked for, once the chat is there."""
        self.set_class(right_to_left(), "-right-to-left")
        config = self.settings.config
        if config.theme is not None and config.theme not in self.available_themes:
            names = ", ".join(sorted(self.available_themes))
            self._warn(_("There is no theme {name}. There are: {names}.").format(name=config.theme, names=names))
        if config.keys:
            self.run_worker(self._check_keys(), name="keys")

    async def _check_keys(self) -> None:
        from edgechat.tui.keys import problems

        for words in await asyncio.to_thread(problems, dict(self.settings.config.keys)):
            self._warn(words)

    def _warn(self, words: str) -> None:
        self.notify(words, severity="warning", timeout=20, markup=False)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Keep a cursor from blinking where nothing is to move by itself."""
        if self.settings.config.reduced_motion and hasattr(event.widget, "cursor_blink"):
            event.widget.cursor_blink = False

    def action_command_palette(self) -> None:
        """Open the palette, which asks in the interface's language."""
        from edgechat.tui.dialogs.palette import Palette

        if not any(isinstance(screen, Palette) for screen in self.screen_stack):
            self.push_screen(Palette(id="--command-palette", placeholder=_("Search for commands")))

    # Themes

    def keep_theme(self, name: str) -> None:
        """Change the colours, and keep that in the settings."""
        self.theme = name
        if self.no_color or "theme" in self.settings.locked:
            return
        settings = self.settings
        config = msgspec.structs.replace(settings.config, theme=name)
        self.settings = replace(settings, config=config, sources={**settings.sources, "theme": "file"})
        self.run_worker(partial(self._save_theme, name), name="theme", thread=True, exit_on_error=False)

    def _save_theme(self, name: str) -> None:
        from edgechat.settings.writer import save

        try:
            save({"theme": name})
        except EdgechatError as error:
            self.call_from_thread(self._warn, format_error(error.title, error.message))

    def search_themes(self) -> None:
        """Show a list of all themes."""
        from textual.theme import ThemeProvider

        from edgechat.tui.dialogs.palette import Palette

        class Themes(ThemeProvider):
            @property
            def commands(self) -> list[tuple[str, Callable[[], None]]]:
                app = self.app
                assert isinstance(app, LookApp)
                return [(name, partial(app.keep_theme, name)) for name in sorted(app.available_themes)]

        self.push_screen(Palette(providers=[Themes], placeholder=_("Search for themes")))
