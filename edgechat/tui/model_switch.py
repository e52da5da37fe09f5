"""What the app has beside the chat: models to choose from, the log, the doctor; and what it does about faults.

None of it is imported before somebody asks for it. A fault that nobody foresaw is logged, never drawn as a traceback:
where only a worker failed, the chat lives on and shows a card; elsewhere the app ends, with the terminal restored and
the chat kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.worker import Worker, WorkerFailed

from edgechat.chat.sanitize import printable
from edgechat.engine.protocol import Progress
from edgechat.errors import EdgechatError, EngineError, FaultError
from edgechat.i18n.catalog import N_, _
from edgechat.runtime import logs
from edgechat.tui.appearance import LookApp
from edgechat.tui.messages import ModelProgressed, ModelStarted

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.settings.loader import Settings
    from edgechat.tui.chat.reply_controller import ChatScreen

TOOLS_BINDINGS = (
    Binding(
        "f10",
        "models",
        N_("Models"),
        id="app.models",
        tooltip=N_("Look at the models, and go on with another one"),
        priority=True,
    ),
    Binding("f12", "log", N_("Log"), id="app.log", tooltip=N_("Show what edgechat logged"), priority=True),
)


class ToolsApp(LookApp):
    """An app around one session.

    Attributes:
        session: What is talked to.
        fault: What ended the app unforeseen; None if nothing did.
    """

    session: Session

    def __init__(self, settings: Settings) -> None:
        """Make the app; see `LookApp`."""
        super().__init__(settings)
        self.fault: FaultError | None = None
        self._switch: Worker[None] | None = None

    @property
    def chat(self) -> ChatScreen:
        """The chat screen, also while another is over it."""
        raise NotImplementedError

    def tools(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """What the command palette offers of this and has no key."""
        yield _("Load the model again"), _("After it could not be loaded"), self.action_load
        yield _("Doctor"), _("Check this machine, the model and the chats"), self.action_doctor

    # Models

    def action_models(self) -> None:
        """Show the models; the one chosen goes on with the chat."""
        from edgechat.tui.dialogs.models import ModelsScreen

        if isinstance(self.screen, ModelsScreen):
            self.screen.dismiss(None)
            return
        self.push_screen(ModelsScreen(self.session.info, self.settings.config.context), self._chosen)

    def _chosen(self, uri: str | None) -> None:
        if uri is not None:
            self.switch_model(uri)

    def action_load(self) -> None:
        """Load the model again, if it is not there."""
        if not self.switching and self.session.info is None:
            self.chat.start_model()

    @property
    def switching(self) -> bool:
        """Whether another model is being loaded."""
        return self._switch is not None and not self._switch.is_finished

    def switch_model(self, uri: str | None) -> None:
        """Go on with another model, loaded in the background; Esc goes back to the one before.

        Args:
            uri: See `Session.switch`.
        """
        if not self.switching:
            self._switch = self.run_worker(self._switch_to(uri), name="switch", group="switch")

    def cancel_switch(self) -> bool:
        """Give up loading another model. Returns whether one was being loaded."""
        if self._switch is None or self._switch.is_finished:
            return False
        self._switch.cancel()
        return True

    async def _switch_to(self, uri: str | None) -> None:
        chat = self.chat
        before = self.session.models.uri
        told: EdgechatError | None = None
        try:
            if chat.sending:
                raise EngineError(_("A reply is being written"), "", _("Stop it with Esc, or wait."))
            self.session.models.check(uri)
            await asyncio.to_thread(_require, uri)
            self._progressed(Progress("load", 0, 0))
            chat.composer.hint(_("Esc goes back to the model before"))
            await self.session.models.switch(uri, self._progressed)
        except EdgechatError as error:
            told = error
        except asyncio.CancelledError:
            chat.call_later(self._back, None)
            raise
        if told is None:
            chat.composer.hint("")
            chat.status_line.status = replace(chat.status_line.status, speed=0.0)  # it was the other one's
            chat.post_message(ModelStarted())
            self.notify(_("The chat goes on with {name}.").format(name=self._loaded_name()), markup=False)
        elif self.session.info is not None and self.session.models.uri == before:  # it was never let go
            await chat.show_error(told)
        else:
            await self._back(told)

    def _progressed(self, progress: Progress) -> None:
        self.chat.post_message(ModelProgressed(progress))

    def _loaded_name(self) -> str:
        return printable(self.session.info.name) if self.session.info is not None else ""

    async def _back(self, error: EdgechatError | None) -> None:
        """Load the model that was there before, after another one could not be or was not to be loaded."""
        chat = self.chat
        chat.composer.hint("")
        if error is None:
            self.notify(_("Back to the model before."), markup=False)
        else:
            await chat.view.show_error(error, passing=False)  # the model before comes back, and this stays true
        chat.start_model()

    # The log and the doctor

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
            self.push_screen(DoctorScreen(self.read_settings))

    def read_settings(self) -> Settings:
        """The settings, read anew."""
        raise NotImplementedError

    # Faults

    def show_fault(self, fault: EdgechatError) -> None:
        """Show a fault that ended nothing, as of a thread; from any thread."""
        loop = self._loop
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(self._show_fault, fault)

    def _show_fault(self, fault: EdgechatError) -> None:
        if self.is_running and not self._exit:
            self.call_later(self.chat.show_error, fault)

    def _handle_exception(self, error: Exception) -> None:
        """Live on where only a worker failed; else end, without drawing a traceback."""
        inner = error.error if isinstance(error, WorkerFailed) else error
        fault = logs.fault(inner, "the interface")
        if self._exception is None:  # for tests, which are to see it
            self._exception = error
            self._exception_event.set()
        if isinstance(error, WorkerFailed) and self.is_running and not self._exit:
            self._show_fault(fault)
            return
        self.fault = fault
        self._return_code = int(fault.exit_code)
        self._close_messages_no_wait()

    def why_ended(self) -> FaultError | None:
        """What ended the app, which has ended, unforeseen; None if it was asked to end.

        Textual takes the end of its own task for the end: whoever cancels that, as a part of the interface that waits
        for another may, ends the app without a word.
        """
        if self.fault is None and not self._exit:
            self.fault = logs.fault(asyncio.CancelledError(), "the interface")
        return self.fault


def _require(uri: str | None) -> None:
    """Refuse a model that is not there or is damaged while the one before is still loaded. Raises EdgechatError."""
    from edgechat.doctor.preflight import require_usable
    from edgechat.models.uri import resolve_model

    if uri is not None:  # the default one may have to be installed first
        require_usable(resolve_model(uri))
