"""What happens after the first paint: the model is loaded, the draft restored, and everything else imported.

The first paint waits for none of it, and the first reply does not wait for imports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.error_messages import format_error
from edgechat.tui.gc_control import Pauses

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.chat.draft_controller import DraftController
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.model_loader import ModelLoader
    from edgechat.tui.chat.reply_controller import ReplyController
    from edgechat.tui.widgets.conversation import ConversationView

IDLE = 2.0
"""Seconds after a reply in which nobody is expected to be waiting for a key."""


class Startup:
    """Starts the chat, and collects garbage between its replies."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        view: ConversationView,
        loader: ModelLoader,
        drafts: DraftController,
        replies: ReplyController,
        imports: Callable[[], None],
    ) -> None:
        """Start nothing before `run`.

        Args:
            session: Does its housekeeping once nobody waits.
            host: Runs the worker for what comes last.
            view: Shows its turns after the first paint.
            loader: Loads the model.
            drafts: Restores the draft.
            replies: Garbage is not collected while one is written.
            imports: Imports, in a thread, what is needed later.
        """
        self._session = session
        self._host = host
        self._view = view
        self._loader = loader
        self._drafts = drafts
        self._replies = replies
        self._imports = imports
        self._pauses: Pauses | None = None

    async def run(self) -> None:
        """Do what comes right after the first paint, and the rest in the background."""
        self._loader.start()
        await self._view.open()
        await self._drafts.restore()
        # The first reply must not wait for its imports, and the first paint even less.
        self._host.run_worker(self._warm_up, name="warm")

    async def _warm_up(self) -> None:
        await asyncio.to_thread(self._imports)
        self._pauses = Pauses()
        self._pauses.settle()
        try:
            await self._session.library.housekeep()
        except EdgechatError as error:  # the chat goes on without a backup, and says so
            words = format_error(error.title, error.message, error.hint)
            self._host.notify(printable(words), severity="warning", markup=False)

    def collect_when_idle(self) -> None:
        """Collect garbage once nobody waits, after a reply has ended."""
        self._host.set_timer(IDLE, self._collect)

    def _collect(self) -> None:
        if self._pauses is not None and not self._replies.sending:
            self._pauses.collect()

    def close(self) -> None:
        """Leave the process as it was."""
        if self._pauses is not None:
            self._pauses.end()
