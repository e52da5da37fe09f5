"""How a chat screen starts: the first paint, the model after it, and then what nobody must wait for later.

It is the part of the chat screen that knows of loading and of the pauses between replies, and of nothing that is said.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.worker import Worker

from edgechat.chat.sanitize import printable
from edgechat.engine.protocol import Progress
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import format_error, translate_error
from edgechat.tui.chat.draft_controller import WritingScreen
from edgechat.tui.gc_control import Pauses
from edgechat.tui.messages import ModelFailed, ModelProgressed, ModelStarted
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView
from edgechat.tui.widgets.status import Activity, StatusLine, progress_words
from edgechat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from edgechat.engine.protocol import Finished
    from edgechat.session.session import Session


class StartingScreen(WritingScreen):
    """A screen with a conversation, a composer and a status line, and a model that is loaded behind them."""

    def __init__(self, session: Session) -> None:
        """Make the screen; see `ContextScreen`."""
        super().__init__(session)
        self._pauses: Pauses | None = None
        self._sending = False
        self._starting = False

    @property
    def view(self) -> ConversationView:
        """The conversation."""
        return self.query_one("#conversation", ConversationView)

    @property
    def composer(self) -> Composer:
        """Where the message is written."""
        return self.query_one("#composer", Composer)

    @property
    def status_line(self) -> StatusLine:
        """The last line."""
        return self.query_one("#status", StatusLine)

    @property
    def sending(self) -> bool:
        """Whether a message was taken whose reply is not over."""
        return self._sending

    @property
    def loading_model(self) -> bool:
        """Whether the model is being loaded."""
        return self._starting and self.session.info is None

    def on_mount(self) -> None:
        """Leave the first paint alone, then go on."""
        self.call_after_refresh(self._settle)

    def on_unmount(self) -> None:
        """Leave the process as it was."""
        if self._pauses is not None:
            self._pauses.end()

    async def _settle(self) -> None:
        self.start_model()
        await self.view.open()
        await self.begin_writing()
        # The first reply must not wait for its imports, and the first paint even less.
        _worker: Worker[None] = self.run_worker(self._warm, name="warm")

    async def _warm(self) -> None:
        await asyncio.to_thread(_import_the_rest)
        self._pauses = Pauses()
        self._pauses.settle()
        try:
            await self.session.housekeep()
        except EdgechatError as error:  # the chat goes on without a backup, and says so
            words = format_error(error.title, error.message, error.hint)
            self.notify(printable(words), severity="warning", markup=False)

    def start_model(self) -> None:
        """Load the model in the background; nothing happens if it is being loaded."""
        if not self._starting:
            self._starting = True
            # Called only if it comes to run: the app may be left at once.
            _worker: Worker[None] = self.run_worker(self._start, name="start")

    async def _start(self) -> None:
        try:
            await self.session.start(self._progressed)
        except EdgechatError as error:
            self.post_message(ModelFailed(error))
        except asyncio.CancelledError:  # another model was chosen meanwhile
            self._starting = False
            raise
        else:
            self.post_message(ModelStarted())

    def _progressed(self, progress: Progress) -> None:
        self.post_message(ModelProgressed(progress))

    @on(ModelProgressed)
    def _show_loading(self, message: ModelProgressed) -> None:
        activity, note = progress_words(message.progress)
        self._show(activity, note)

    @on(ModelStarted)
    async def _show_model(self) -> None:
        self._starting = False
        for welcome in self.query(Welcome):
            welcome.info = self.session.info
        await self.view.clear_passing()
        self._show(Activity.READING if self._sending else Activity.READY)

    @on(ModelFailed)
    async def _show_failed_start(self, message: ModelFailed) -> None:
        self._starting = False
        for welcome in self.query(Welcome):
            welcome.failed = True
        if self._sending:  # the message waits for the same load, and tells of it under its own turn
            return
        self._show(Activity.ERROR, translate_error(message.error.title))
        await self.view.show_error(message.error)

    def _tidy(self) -> None:
        if self._pauses is not None and not self._sending:
            self._pauses.collect()

    def _show(self, activity: Activity, note: str = "", finished: Finished | None = None) -> None:
        info = self.session.info
        status = replace(
            self.status_line.status,
            activity=activity,
            note=note,
            used=self.session.context_used,
        )
        if info is not None:  # a model that died keeps its place until another is there
            status = replace(status, model=info.name, context=info.context)
        if finished is not None and finished.tokens_per_second > 0:
            status = replace(status, speed=finished.tokens_per_second, exact=True)
        self.status_line.status = status


def _import_the_rest() -> None:
    # What is in the program's files must not be looked for later: somebody may have removed them by then.
    import edgechat.slash.commands
    import edgechat.tui.dialogs.doctor
    import edgechat.tui.dialogs.help
    import edgechat.tui.dialogs.keys
    import edgechat.tui.dialogs.log
    import edgechat.tui.dialogs.models
    import edgechat.tui.dialogs.palette
    import edgechat.tui.dialogs.personas
    import edgechat.tui.dialogs.prompt
    import edgechat.tui.dialogs.settings
    import edgechat.tui.dialogs.text
    import edgechat.tui.dialogs.text_prompt
    import edgechat.tui.slash_commands
    import edgechat.tui.widgets.reply_view
    import edgechat.tui.widgets.sidebar  # noqa: F401
