"""The settings that are in force while the app runs: read anew, applied, and partly saved from here.

What is saved on purpose goes through `settings_draft`; this is what takes effect, at once and everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from edgechat.errors import EdgechatError
from edgechat.i18n.error_messages import format_error
from edgechat.settings.loader import Settings

if TYPE_CHECKING:
    from textual.app import App

    from edgechat.session.session import Session
    from edgechat.tui.appearance import Appearance


class LiveSettings:
    """The settings of a running app.

    Attributes:
        current: Those in force.
    """

    def __init__(
        self,
        app: App[Any],
        session: Session,
        appearance: Appearance,
        settings: Settings,
        read: Callable[[], Settings],
    ) -> None:
        """Take settings for those that are in force already.

        Args:
            app: Shows warnings.
            session: Samples and limits replies as they say.
            appearance: Looks as they say.
            settings: The settings.
            read: Reads them anew, with what the command line gave.
        """
        self._app = app
        self._session = session
        self._appearance = appearance
        self._read = read
        self.current = settings

    @property
    def colourless(self) -> bool:
        """Whether the environment asks for no colours, whatever the theme."""
        return self._app.no_color

    def read(self) -> Settings:
        """Read the settings anew, without applying them."""
        return self._read()

    def apply(self, settings: Settings) -> None:
        """Take over changed settings: the look at once, sampling with the next reply, the system message in new chats.

        Raises:
            ConfigError: They name a persona that is not there.
        """
        from edgechat.session.prompt_builder import sampling_of
        from edgechat.settings.personas import system_message

        config, before = settings.config, self.current.config
        system = system_message(settings)
        self.current = settings
        self._appearance.apply(config)
        self._session.prompts.sampling = sampling_of(config)
        self._session.prompts.max_tokens = config.max_tokens
        if config.context_policy != before.context_policy:  # else it may have been chosen for this run
            self._session.context.policy = config.context_policy
        self._session.chat.use_system(system)

    # The theme

    def preview_theme(self, name: str | None) -> None:
        """Change the colours and save nothing; None is what the terminal asks for."""
        self._appearance.use_theme(name)

    def choose_theme(self, name: str) -> None:
        """Change the colours, and save that for the next start."""
        self._app.theme = name
        if self._app.no_color or "theme" in self.current.locked:
            return
        settings = self.current
        config = msgspec.structs.replace(settings.config, theme=name)
        self.current = replace(settings, config=config, sources={**settings.sources, "theme": "file"})
        self._app.run_worker(partial(self._save_theme, name), name="theme", thread=True, exit_on_error=False)

    def _save_theme(self, name: str) -> None:
        from edgechat.settings.writer import save

        try:
            save({"theme": name})
        except EdgechatError as error:
            words = format_error(error.title, error.message)
            self._app.call_from_thread(self._app.notify, words, severity="warning", timeout=20, markup=False)
