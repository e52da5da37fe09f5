"""The terminal application: themes, commands, the clipboard, and the one way out.

It owns the session's end: whichever way the app is left, the running reply is stopped and kept, and the engine is
ended. It never talks to the session otherwise; that is the chat screen's work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError, ExitCode
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error
from edgechat.runtime import crash_handler, shutdown_deadline
from edgechat.settings.loader import Settings, load_settings
from edgechat.tui import clipboard
from edgechat.tui.appearance import Appearance
from edgechat.tui.chat.screen import ChatScreen
from edgechat.tui.faults import FaultHandler
from edgechat.tui.live_settings import LiveSettings
from edgechat.tui.minimum_width import allow_any_width
from edgechat.tui.terminal.key_order import InputOrder
from edgechat.tui.widget_removal import cancel_workers_of, remove_whole

if TYPE_CHECKING:
    from textual.await_remove import AwaitRemove
    from textual.command import Provider
    from textual.dom import DOMNode
    from textual.driver import Driver
    from textual.message import Message
    from textual.screen import Screen
    from textual.theme import Theme
    from textual.widget import Widget

    from edgechat.session.session import Session
    from edgechat.tui.palette_commands import Command


def _palette() -> type[Provider]:
    from edgechat.tui.dialogs.palette import Commands  # for those who open it

    return Commands


class EdgechatApp(App[None]):
    """The terminal interface to one session.

    Attributes:
        session: What is talked to.
        chat: The chat screen, also while another is over it.
        live: The settings in force.
        faults: What failed unforeseen.
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
        Binding(
            "f10",
            "models",
            N_("Models"),
            id="app.models",
            tooltip=N_("Look at the models, and go on with another one"),
            priority=True,
        ),
        Binding("f12", "log", N_("Log"), id="app.log", tooltip=N_("Show what edgechat logged"), priority=True),
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
        allow_any_width()
        remove_whole()
        self._order = InputOrder(self, super().post_message)
        super().__init__()
        settings = settings or Settings()
        self.session = session
        self._appearance = Appearance(self, settings.config)
        self._appearance.start()
        self._parsed_for = self.get_css_variables()
        self.live = LiveSettings(self, session, self._appearance, settings, read_settings)
        self.chat = ChatScreen(session, notices)
        self.faults = FaultHandler(self, self.chat.view.show_error)
        self.failure: EdgechatError | None = None
        self._last_words: asyncio.Future[None] | None = None

    def get_driver_class(self) -> type[Driver]:
        """Edgechat's own driver, where there is one for the system."""
        if os.name != "posix" or os.environ.get("TEXTUAL_DRIVER"):
            return super().get_driver_class()
        from edgechat.tui.terminal.driver import TerminalDriver  # of modules that other systems do not have

        return TerminalDriver

    def get_default_screen(self) -> ChatScreen:
        """The chat."""
        return self.chat

    # Input and looks

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

    def _prune(self, *nodes: Widget, parent: DOMNode | None = None) -> AwaitRemove:
        """Take parts of the interface away, and first end what they were finding out to show it."""
        cancel_workers_of(nodes, self.workers)
        return super()._prune(*nodes, parent=parent)

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Edgechat's own themes and those of Textual."""
        appearance: Appearance | None = self.__dict__.get("_appearance")  # Textual asks before there is one
        return {**(appearance.themes if appearance is not None else {}), **super().available_themes}

    def refresh_css(self, animate: bool = True) -> None:
        """Apply the style sheets again, which a start would do twice: parsing them is a tenth of the first paint."""
        variables = self.get_css_variables()
        if variables == self._parsed_for:
            self.stylesheet.update(self, animate=animate)
            return
        self._parsed_for = variables
        super().refresh_css(animate=animate)

    @on(events.DescendantFocus)
    def _calm_cursor(self, event: events.DescendantFocus) -> None:
        self._appearance.calm(event.widget)

    def on_mount(self) -> None:
        """Say what is wrong with the look, and show what fails in tasks that nobody waits for."""
        asyncio.get_running_loop().set_exception_handler(crash_handler.handle_task)
        self._appearance.check()

    def _handle_exception(self, error: Exception) -> None:
        """Live on where only a worker failed; else end, without drawing a traceback."""
        if self._exception is None:  # for tests, which are to see it
            self._exception = error
            self._exception_event.set()
        fatal = self.faults.handle(error)
        if fatal is not None:
            self._return_code = int(fatal.exit_code)
            self._close_messages_no_wait()

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
        self._last_words = asyncio.ensure_future(self.chat.drafts.save())  # should the orderly end be held up
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

    # Cards

    def action_help(self) -> None:
        """Open the help, or close it."""
        from edgechat.tui.dialogs.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen(self.live.current.config.keys))

    def action_settings(self) -> None:
        """Open the settings."""
        from edgechat.tui.dialogs.settings import SettingsScreen

        self.push_screen(SettingsScreen(self.live, self.session, self.chat.switch_model))

    def action_models(self) -> None:
        """Show the models; the one chosen goes on with the chat."""
        from edgechat.tui.dialogs.models import ModelsScreen

        if isinstance(self.screen, ModelsScreen):
            self.screen.dismiss(None)
            return

        def switch(uri: str | None) -> None:
            if uri is not None:
                self.chat.switch_model(uri)

        self.push_screen(ModelsScreen(self.session.info, self.live.current.config.context), switch)

    def action_log(self) -> None:
        """Show the log, or close it."""
        from edgechat.tui.dialogs.log import LogScreen

        if isinstance(self.screen, LogScreen):
            self.screen.dismiss(None)
        else:
            self.push_screen(LogScreen())

    def action_doctor(self) -> None:
        """Check everything, and show what was found."""
        from edgechat.tui.dialogs.doctor import DoctorScreen

        if not isinstance(self.screen, DoctorScreen):
            self.push_screen(DoctorScreen(self.live.read))

    def action_keys(self) -> None:
        """Give keys another meaning."""
        from edgechat.tui.dialogs.keys import KeysScreen

        if "keys" in self.live.current.locked:
            self.notify(_("This device decides the keys."), severity="warning", markup=False)
        else:
            self.push_screen(KeysScreen(self.live))

    def action_personas(self) -> None:
        """Choose who the model is to be in this chat."""
        from edgechat.settings.personas import Persona
        from edgechat.tui.dialogs.personas import PersonasScreen

        if "system" in self.live.current.locked:
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

    def action_help_quit(self) -> None:
        """Ctrl+C without a selection: people expect it to quit, and would lose nothing, but not by accident."""
        self.notify(_("Ctrl+Q quits. Esc stops a reply."), markup=False)

    def action_load(self) -> None:
        """Load the model again, if it is not there."""
        if not self.chat.switch.active and self.session.info is None:
            self.chat.loader.start()

    # Commands and the clipboard

    def action_command_palette(self) -> None:
        """Open the palette, which asks in the interface's language."""
        from edgechat.tui.dialogs.palette import Palette

        if not any(isinstance(screen, Palette) for screen in self.screen_stack):
            self.push_screen(Palette(id="--command-palette", placeholder=_("Search for commands")))

    def search_themes(self) -> None:
        """Show a list of all themes; the one chosen is saved."""
        from edgechat.tui.dialogs.palette import theme_palette

        self.push_screen(theme_palette(self.live.choose_theme))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        from edgechat.tui.palette_commands import system_commands  # for those who open it

        return system_commands(self, screen, self._commands(screen), self.live.current.config.keys)

    def _commands(self, screen: Screen[object]) -> Iterator[Command]:
        """Commands by a better name than that of their key, and those that have no key."""
        from edgechat.tui.palette_commands import chat_commands, reply_commands, theme_commands

        chat = self.chat
        if screen is chat:
            yield from reply_commands(chat)
            yield _("Keys"), _("Give them another meaning"), self.action_keys
            yield _("Persona"), _("Choose who the model is to be in this chat"), self.action_personas
            yield from chat_commands(chat)
            yield _("Load the model again"), _("After it could not be loaded"), self.action_load
            yield _("Doctor"), _("Check this machine, the model and the chats"), self.action_doctor
        yield from theme_commands(self.live, self.action_change_theme)
        if screen is chat:
            yield from chat.commands.palette_commands()

    def copy_to_clipboard(self, text: str) -> None:
        """Copy what was selected or cut, to be pasted here as it is and elsewhere as it is seen."""
        self._clipboard = text
        self.run_worker(clipboard.copied(self, text), name="copy", exit_on_error=False)


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
    with (
        shutdown_deadline.handle_signals(app.leave, app.give_back),
        crash_handler.reporting_to(app.faults.show_from_thread),
    ):
        app.run()
    if (unsaved := app.chat.drafts.unsaved_text) and sys.stderr is not None:
        words = _("This was written and could not be kept:")
        sys.stderr.write(f"{words}\n{printable(unsaved)}\n")
    if (fault := app.faults.reason_for_end()) is not None:
        raise fault
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
