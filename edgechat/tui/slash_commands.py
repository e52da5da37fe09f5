"""Slash commands in the terminal interface: what the screen does in its own way, and the way to it for the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.errors import EngineError
from edgechat.i18n.catalog import _
from edgechat.slash.handlers import run_command
from edgechat.tui.clipboard import EXPORT, copy
from edgechat.tui.model_switch import ToolsApp

if TYPE_CHECKING:
    from edgechat.session.session import Session, SessionEvent
    from edgechat.slash.commands import Call
    from edgechat.tui.chat.screen import MainScreen

ACTIONS = {
    "chats": "chats",
    "continue": "resume",
    "copy": "copy_reply",
    "delete-message": "delete_turn",
    "doctor": "app.doctor",
    "edit": "edit",
    "delete": "delete_chat",
    "log": "app.log",
    "model": "app.models",
    "new": "new_chat",
    "next": "step(1)",
    "previous": "step(-1)",
    "prompt": "show_prompt",
    "quit": "app.quit",
    "regen": "regenerate",
    "undo": "undelete",
}
"""The screen's own actions for commands that stand alone; they have keys, and are in the palette by themselves."""


class ScreenFront:
    """The chat screen as commands see it; see `slash.front.Front`."""

    def __init__(self, screen: MainScreen) -> None:
        """Stand for that screen."""
        self._screen = screen
        self._line = ""

    @property
    def session(self) -> Session:
        """See `Front`."""
        return self._screen.session

    async def obey(self, call: Call) -> None:
        """Do what a command asks for. Raises EdgechatError."""
        self._line = call.line
        action = ACTIONS.get(call.command.name)
        if action is not None and not call.argument:
            await self._screen.run_action(action)
        elif call.command.name == "search":
            await self._screen.search_chats(call.argument)
        else:
            await run_command(self, call)

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """See `Front`."""
        from edgechat.tui.dialogs.text import AnswerScreen  # its style sheet is for those who open it

        self._screen.app.push_screen(AnswerScreen(title, lines))

    async def say(self, words: str) -> None:
        """See `Front`."""
        self._screen.notify(printable(words), markup=False)

    async def follow(self, told: AsyncGenerator[SessionEvent, None]) -> None:
        """See `Front`; the screen shows the reply, and nobody waits here for its end."""
        if self._screen.sending:
            raise EngineError(_("A reply is being written"), "", _("Stop it with Esc, or wait."))
        self._screen.send_off(self._line)
        self._screen.hold(told)

    async def show_chat(self) -> None:
        """See `Front`."""
        await self._screen.redraw()

    async def refresh(self) -> None:
        """See `Front`."""
        self._screen.chats_changed()
        if not self._screen.sending:  # the reply that is written is shown by itself
            await self._screen.redraw()

    async def switch(self, uri: str) -> None:
        """See `Front`; the model is loaded in the background, and Esc goes back."""
        app = self._screen.app
        if isinstance(app, ToolsApp):
            app.switch_model(uri)

    async def attach(self, path: Path) -> None:
        """See `Front`."""
        await self._screen.attach(path)

    async def copy(self, text: str) -> None:
        """See `Front`."""
        copy(self._screen.app, text, _("The last reply is in the clipboard."), _(EXPORT))

    async def leave(self) -> None:
        """See `Front`."""
        await self._screen.run_action("app.quit")
