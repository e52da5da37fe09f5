"""The app's looks and keys as the settings and the terminal have them.

What is drawn passes the filters chosen here last of all. A change of the settings takes effect at once; nothing here
knows the chat.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.filter import Monochrome, NoColor

from edgechat.i18n.catalog import _, right_to_left
from edgechat.tui import glyphs, rtl
from edgechat.tui.terminal.line_filters import Colourless, Simplified, Visible
from edgechat.tui.themes import MONO, fitting_theme, own_themes, without_colour

if TYPE_CHECKING:
    from textual.widget import Widget

    from edgechat.settings.schema import Config


class Appearance:
    """Theme, motion, line filters and keys of an app.

    Attributes:
        themes: Edgechat's own themes, by name.
    """

    def __init__(self, app: App[Any], config: Config) -> None:
        """Dress an app that has not been started.

        Args:
            app: The app, whose base class is initialised.
            config: For its theme, its motion and its keys.
        """
        self._app = app
        self._config = config
        app.no_color = without_colour(os.environ)
        rtl.use(config.bidi, os.environ)
        others = [each for each in app._filters if not isinstance(each, (Monochrome, NoColor))]
        # In this order: what is made visible has a width, and a sign is put in its place before it becomes another.
        app._filters = [Visible(), rtl.Reordered(), *others]
        if app.no_color:
            app._filters.append(Colourless())
        if glyphs.LEVEL != "unicode":
            app._filters.append(Simplified(glyphs.LEVEL))
        self.themes = own_themes(few_colours=app.console.color_system in ("standard", "windows"))

    def start(self) -> None:
        """Apply the first theme without redrawing anything, once the app knows edgechat's themes."""
        self._app.set_reactive(App.theme, self.wanted_theme(self._config.theme))
        self._app.stylesheet.set_variables(self._app.get_css_variables())
        self._apply_motion_and_keys()

    def apply(self, config: Config) -> None:
        """Take over a changed configuration."""
        self._config = config
        self.use_theme(config.theme)
        self._apply_motion_and_keys()

    def wanted_theme(self, name: str | None = None) -> str:
        """The name of the theme to use.

        Args:
            name: One that is asked for; None is what the terminal asks for.
        """
        if self._app.no_color:
            return MONO.name
        return name if name in self._app.available_themes else fitting_theme(os.environ)

    def use_theme(self, name: str | None) -> None:
        """Change the colours, to those that the terminal asks for if no theme is named."""
        self._app.theme = self.wanted_theme(name)

    def _apply_motion_and_keys(self) -> None:
        self._app.animation_level = "none" if self._config.reduced_motion else "full"
        if self._config.keys or self._app._keymap:
            from edgechat.tui.keys import keymap  # for those who have keys of their own

            self._app.set_keymap(keymap(self._config.keys))

    def calm(self, widget: Widget) -> None:
        """Keep the cursor of a widget from blinking where nothing is to move by itself."""
        if self._config.reduced_motion and hasattr(widget, "cursor_blink"):
            widget.cursor_blink = False

    # What is wrong with it

    def check(self) -> None:
        """Say what is wrong with the look that was asked for, once the app is there."""
        self._app.set_class(right_to_left(), "-right-to-left")
        config = self._config
        if config.theme is not None and config.theme not in self._app.available_themes:
            names = ", ".join(sorted(self._app.available_themes))
            self._warn(_("There is no theme {name}. There are: {names}.").format(name=config.theme, names=names))
        if config.keys:
            self._app.run_worker(self._check_keys(), name="keys")

    async def _check_keys(self) -> None:
        from edgechat.tui.keys import problems

        for words in await asyncio.to_thread(problems, dict(self._config.keys)):
            self._warn(words)

    def _warn(self, words: str) -> None:
        self._app.notify(words, severity="warning", timeout=20, markup=False)
