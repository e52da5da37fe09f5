"""Goes on with another model, loaded in the background; the one before comes back where that fails or is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.engine.protocol import Progress
from edgechat.errors import EdgechatError, EngineError
from edgechat.i18n.catalog import _
from edgechat.tui.messages import ModelStarted

if TYPE_CHECKING:
    from textual.worker import Worker

    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.model_loader import ModelLoader
    from edgechat.tui.chat.status_reporter import StatusReporter
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.conversation import ConversationView


class ModelSwitch:
    """Switches between models."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        composer: Composer,
        view: ConversationView,
        status: StatusReporter,
        loader: ModelLoader,
    ) -> None:
        """Switch nothing yet.

        Args:
            session: Whose model it is.
            host: Runs the worker and shows notifications.
            composer: Its edge says how to go back.
            view: Shows why a model cannot be used.
            status: Shows how fast a model writes.
            loader: Loads the model before again.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._view = view
        self._status = status
        self._loader = loader
        self._worker: Worker[None] | None = None

    @property
    def active(self) -> bool:
        """Whether another model is being loaded."""
        return self._worker is not None and not self._worker.is_finished

    def start(self, uri: str | None, *, sending: bool) -> None:
        """Switch to another model; Esc goes back to the one before.

        Args:
            uri: See `Session.switch`.
            sending: Whether a reply is being written, which has to end first.
        """
        if not self.active:
            self._worker = self._host.run_worker(self._switch(uri, sending), name="switch", group="switch")

    def cancel(self) -> bool:
        """Give up loading another model. Returns whether one was being loaded."""
        if self._worker is None or self._worker.is_finished:
            return False
        self._worker.cancel()
        return True

    def refuse(self, message: str) -> None:
        """Give a message back that was sent while another model is being loaded, and say why."""
        self._composer.accepting = True
        if not self._composer.take_back():
            self._composer.restore(message)
        words, short = _("another model is being loaded; Esc goes back"), _("Esc goes back to the model before")
        self._composer.edge.hint(words, short=short, urgent=True)

    async def _switch(self, uri: str | None, sending: bool) -> None:
        before = self._session.models.uri
        failure: EdgechatError | None = None
        try:
            if sending:
                raise EngineError("A reply is being written", "", "Stop it with Esc, or wait.")
            self._session.models.check(uri)
            await asyncio.to_thread(_require, uri)
            self._loader.report(Progress("load", 0, 0))
            self._composer.edge.hint(_("Esc goes back to the model before"))
            await self._session.models.switch(uri, self._loader.report)
        except EdgechatError as error:
            failure = error
        except asyncio.CancelledError:
            self._host.call_later(self._go_back, None)
            raise
        if failure is None:
            self._composer.edge.hint("")
            self._status.clear_speed()
            self._host.post_message(ModelStarted())
            name = printable(self._session.info.name) if self._session.info is not None else ""
            self._host.notify(_("The chat goes on with {name}.").format(name=name), markup=False)
        elif self._session.info is not None and self._session.models.uri == before:  # it was never unloaded
            await self._view.show_error(failure)
        else:
            await self._go_back(failure)

    async def _go_back(self, error: EdgechatError | None) -> None:
        """Load the model that was there before, after another one could not be or was not to be loaded."""
        self._composer.edge.hint("")
        if error is None:
            self._host.notify(_("Back to the model before."), markup=False)
        else:
            await self._view.show_error(error, passing=False)  # the model before comes back, and this stays true
        self._loader.start()


def _require(uri: str | None) -> None:
    """Refuse a model that is not there or is damaged while the one before is still loaded. Raises EdgechatError."""
    from edgechat.doctor.preflight import require_usable
    from edgechat.models.uri import resolve_model

    if uri is not None:  # the default one may have to be installed first
        require_usable(resolve_model(uri))
