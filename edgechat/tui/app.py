"""The terminal application: themes, commands, the clipboard, and the one way out.

It owns the session's end: whichever way the app is left, the running reply is stopped and kept, and the engine is
ended. It never talks to the session otherwise; that is the chat screen's work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError, ExitCode
from edgechat.i18n.catalog import N_, _, format_error
from edgechat.runtime import crash_handler, shutdown_deadline
from edgechat.settings.loader import Settings, load_settings
from edgechat.tui import clipboard
from edgechat.tui.chat.screen import MainScreen
from edgechat.tui.model_switch import TOOLS_BINDINGS, ToolsApp
from edgechat.tui.themes import CONTRAST, DARK, LIGHT

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.dom import DOMNode
    from textual.screen import Screen

    from edgechat.chat.context_window import Policy
    from edgechat.session.session import Session

_POLICIES: tuple[tuple[str, str, Policy], ...] = (
    (N_("ask"), N_("Stop and tell what would no longer be sent"), "ask"),
    (N_("leave out"), N_("The oldest messages are no longer sent; they stay in the history (F5)"), "oldest"),
    (N_("sum up"), N_("The model sums up the oldest messages; they stay in the history (F6)"), "summarise"),
)


def _palette() -> type[Provider]:
    from edgechat.tui.dialogs.palette import Commands  # for those who open it

    return Commands


class EdgechatApp(ToolsApp):
    """The terminal interface to one session.

    Attributes:
        session: What is talked to.
        failure: Why the session could not be closed; None if it could.
    """

    TITLE = "edgechat"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    COMMANDS = {_palette}  # noqa: RUF012 - typed by the base class
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Show or close this help", priority=True),
        Binding(
            "ctrl+p",
            "command_palette",
            "Commands",
            id="app.commands",
            tooltip="All commands: themes, copying the last reply, and more",
            priority=True,
        ),
        Binding(
            "ctrl+s,f11",
            "settings",
            N_("Settings"),
            id="app.settings",
            tooltip=N_("Change the settings, of all chats or of this one"),
        ),
        *TOOLS_BINDINGS,
        Binding(
            "ctrl+q", "quit", "Quit", id="app.quit", tooltip="Quit; a reply is stopped and its text kept", priority=True
        ),
    ]

    def __init__(
        self,
        session: Session,
        *,
        notices: Sequence[str] = (),
        settings: Settings | None = None,
        read_settings: Callable[[], Settings] = load_settings,
    ) -> None:
        """Make the app; nothing is started before it runs.

        Args:
            session: What to talk to. The app closes it at the end.
            notices: Words for the user, shown above the chat as plain text.
            settings: Those in force; None for the defaults.
            read_settings: Reads them anew, with what the command line gave.
        """
        super().__init__(settings or Settings())
        self.session = session
        self._read_settings = read_settings
        self._parsed_for = self.get_css_variables()
        self.failure: EdgechatError | None = None
        self._last_words: asyncio.Future[None] | None = None
        self._chat = MainScreen(session, notices)

    def read_settings(self) -> Settings:
        """See `ToolsApp`."""
        return self._read_settings()

    def refresh_css(self, animate: bool = True) -> None:
        """Apply the style sheets again, which a start would do twice: parsing them is a tenth of the first paint."""
        variables = self.get_css_variables()
        if variables == self._parsed_for:
            self.stylesheet.update(self, animate=animate)
            return
        self._parsed_for = variables
        super().refresh_css(animate=animate)

    def get_default_screen(self) -> MainScreen:
        """The chat."""
        return self._chat

    @property
    def chat(self) -> MainScreen:
        """The chat screen, also while another is over it."""
        return self._chat

    def on_mount(self) -> None:
        """Show what fails in tasks that nobody waits for."""
        asyncio.get_running_loop().set_exception_handler(crash_handler.handle_task)

    # The end

    def leave(self, code: int) -> None:
        """Leave as Ctrl+Q does when the system asks: the reply kept, the terminal the user's again.

        Args:
            code: The exit code.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            raise SystemExit(code)
        loop.call_soon_threadsafe(self._leave, code)

    def _leave(self, code: int) -> None:
        if self._exit:
            return
        self._last_words = asyncio.ensure_future(self.chat.keep_draft())  # should the orderly end be held up
        self.exit(None, code)

    def terminal_gone(self) -> None:
        """Leave as if the system had said that it hung up."""
        code = 128 + signal.SIGHUP if os.name == "posix" else int(ExitCode.ERROR)
        shutdown_deadline.start(code)
        self._leave(code)

    def give_back(self) -> None:
        """Give the terminal back by force; from any thread."""
        release = getattr(self._driver, "release", None)
        if release is not None:
            release()

    async def on_unmount(self) -> None:
        """End the session; the terminal is the user's again by now."""
        try:
            await self.session.aclose()
        except EdgechatError as error:
            self.failure = error

    def action_help(self) -> None:
        """Open the help, or close it."""
        from edgechat.tui.dialogs.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
            return
        self.push_screen(HelpScreen(self.settings.config.keys))

    def action_settings(self) -> None:
        """Open the settings."""
        from edgechat.tui.dialogs.settings import SettingsScreen

        self.push_screen(SettingsScreen())

    def action_keys(self) -> None:
        """Give keys another meaning."""
        from edgechat.tui.dialogs.keys import KeysScreen

        if "keys" in self.settings.locked:
            self.notify(_("This device decides the keys."), severity="warning", markup=False)
        else:
            self.push_screen(KeysScreen())

    def action_personas(self) -> None:
        """Choose who the model is to be in this chat."""
        from edgechat.settings.personas import Persona
        from edgechat.tui.dialogs.personas import PersonasScreen

        if "system" in self.settings.locked:
            self.notify(_("This device decides who the model is."), severity="warning", markup=False)
            return

        async def take(persona: Persona | None) -> None:
            if persona is None:
                return
            try:
                await self.session.chat.configure(persona.text, self.session.conversation.settings)
            except EdgechatError as error:
                self.notify(format_error(error.title, error.message), severity="error", markup=False)
            else:
                self.notify(_("{title}, from the next message on.").format(title=persona.title), markup=False)

        self.push_screen(PersonasScreen(self.session.conversation.system), take)

    def apply(self, settings: Settings) -> None:
        """Take over changed settings: the look at once, sampling with the next reply, the system message in new chats.

        Raises:
            ConfigError: They name a persona that is not there.
        """
        from edgechat.session.prompt_builder import sampling_of
        from edgechat.settings.personas import system_message

        config, before = settings.config, self.settings.config
        system = system_message(settings)
        super().apply(settings)
        self.session.prompts.sampling = sampling_of(config)
        self.session.prompts.max_tokens = config.max_tokens
        if config.context_policy != before.context_policy:  # else it may have been chosen for this run
            self.session.context.policy = config.context_policy
        self.session.chat.use_system(system)

    def action_help_quit(self) -> None:
        """Ctrl+C without a selection: people expect it to quit, and would lose nothing, but not by accident."""
        self.notify(_("Ctrl+Q quits. Esc stops a reply."), markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers: everything that a key would do where the focus is, and more."""
        from edgechat.tui.keys import entries, key_words, keys_of

        named = {_action_words(action): (title, words, action) for title, words, action in self._commands(screen)}
        focused = screen.focused
        places: list[DOMNode] = [*(focused.ancestors_with_self if focused is not None else [screen, self])]
        for entry in entries():
            place = next((place for place in places if isinstance(place, entry.owner)), None)
            if place is None or entry.id == "app.commands":
                continue
            title, _words, _action = named.pop(entry.action, (_(entry.title), "", None))
            keys = key_words(keys_of(entry, self.settings.config.keys))
            yield SystemCommand(title, f"{_(entry.about)} ({keys})", partial(self.run_action, entry.action, place))
        for title, words, action in named.values():
            yield SystemCommand(title, words, action)

    def _commands(self, screen: Screen[object]) -> Iterable[tuple[str, str, Callable[[], object]]]:
        """Commands by a better name than that of their key, and those that have no key."""
        chat = self._chat
        if screen is chat:
            yield _("Stop the reply"), "", chat.action_stop
            yield _("Copy the last reply"), _("Put it into the clipboard as Markdown"), chat.action_copy_reply
            yield _("Show the prompt"), _("What the model reads, with its tokens"), chat.action_show_prompt
            for title, words, policy in _POLICIES:
                choose = partial(chat.action_choose_policy, policy)
                yield _("When the chat is full: {what}").format(what=_(title)), _(words), choose
            yield _("Keys"), _("Give them another meaning"), self.action_keys
            yield _("Persona"), _("Choose who the model is to be in this chat"), self.action_personas
            yield from chat.commands()
            yield from self.tools()
        yield _("Dark colours"), _("Light text on ink"), lambda: self.keep_theme(DARK.name)
        yield _("Light colours"), _("Dark text on paper"), lambda: self.keep_theme(LIGHT.name)
        yield _("High contrast"), _("For those who need it"), lambda: self.keep_theme(CONTRAST.name)
        yield _("Theme"), _("Choose from all themes"), self.action_change_theme
        if screen is chat:
            yield from chat.slash_commands()

    def copy_to_clipboard(self, text: str) -> None:
        """Copy what was selected or cut, to be pasted here as it is and elsewhere as it is seen."""
        self._clipboard = text
        self.run_worker(clipboard.copied(self, text), name="copy", exit_on_error=False)


def _action_words(action: Callable[[], object]) -> object:
    """A command as bindings name it, such as "step(1)"; the command itself where they cannot."""
    if isinstance(action, partial):
        return f"{action.func.__name__.removeprefix('action_')}({', '.join(map(repr, action.args))})"
    name = getattr(action, "__name__", "")
    return name.removeprefix("action_") if name.startswith("action_") else action


def run_tui(
    session: Session,
    *,
    notices: Sequence[str] = (),
    settings: Settings | None = None,
    read_settings: Callable[[], Settings] = load_settings,
) -> int:
    """Run the interface until the user leaves.

    Args:
        session: What to talk to; it is closed at the end.
        notices: Words for the user, shown above the chat.
        settings: Those in force; None for the defaults.
        read_settings: Reads them anew.

    Returns:
        The exit code.

    Raises:
        EdgechatError: The session could not be closed, or something unforeseen ended the interface.
    """
    app = EdgechatApp(session, notices=notices, settings=settings, read_settings=read_settings)
    with shutdown_deadline.handle_signals(app.leave, app.give_back), crash_handler.reporting_to(app.show_fault):
        app.run()
    if (unkept := app.chat.unkept) and sys.stderr is not None:
        words = _("This was written and could not be kept:")
        sys.stderr.write(f"{words}\n{printable(unkept)}\n")
    if (fault := app.why_ended()) is not None:
        raise fault
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
