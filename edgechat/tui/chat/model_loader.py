"""Loads the session's model in the background and shows how far that has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgechat.engine.protocol import Progress
from edgechat.errors import EdgechatError
from edgechat.i18n.error_messages import translate_error
from edgechat.tui.messages import ModelFailed, ModelProgressed, ModelStarted
from edgechat.tui.widgets.status import Activity
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.status_reporter import StatusReporter
    from edgechat.tui.widgets.conversation import ConversationView


class ModelLoader:
    """Loads a model; it is loaded once, however often that is asked for."""

    def __init__(self, session: Session, host: ScreenHost, view: ConversationView, status: StatusReporter) -> None:
        """Load nothing yet.

        Args:
            session: Whose model it is.
            host: Runs the worker, and routes its messages back here.
            view: Shows why a model cannot be loaded.
            status: Shows how far loading has come.
        """
        self._session = session
        self._host = host
        self._view = view
        self._status = status
        self._starting = False

    @property
    def loading(self) -> bool:
        """Whether the model is being loaded."""
        return self._starting and self._session.info is None

    def start(self) -> None:
        """Load the model in the background, unless it is being loaded already."""
        if not self._starting:
            self._starting = True
            self._host.run_worker(self._load, name="start")

    async def _load(self) -> None:
        try:
            await self._session.start(self.report)
        except EdgechatError as error:
            self._host.post_message(ModelFailed(error))
        except asyncio.CancelledError:  # another model was chosen meanwhile
            self._starting = False
            raise
        else:
            self._host.post_message(ModelStarted())

    def report(self, progress: Progress) -> None:
        """Say how far loading or installing a model has come."""
        self._host.post_message(ModelProgressed(progress))

    async def started(self, *, sending: bool) -> None:
        """Show the model that is loaded now.

        Args:
            sending: Whether a message waits for it.
        """
        self._starting = False
        for welcome in self._view.query(Welcome):
            welcome.info = self._session.info
        await self._view.clear_passing()
        self._status.show(Activity.READING if sending else Activity.READY)

    async def failed(self, error: EdgechatError, *, sending: bool) -> None:
        """Show why there is no model.

        Args:
            error: The reason.
            sending: Whether a message waits for the model; it fails as well, and shows the error under its own turn.
        """
        self._starting = False
        for welcome in self._view.query(Welcome):
            welcome.failed = True
        if not sending:
            self._status.show(Activity.ERROR, translate_error(error.title))
            await self._view.show_error(error)
