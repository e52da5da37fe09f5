"""Writes the status line: what the session's model is doing, how full its context is, how fast it writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgechat.tui.widgets.status import Activity, StatusLine, progress_words

if TYPE_CHECKING:
    from edgechat.engine.protocol import Finished, Progress
    from edgechat.session.session import Session


class StatusReporter:
    """Keeps the status line in step with the session."""

    def __init__(self, session: Session, line: StatusLine) -> None:
        """Report on a session.

        Args:
            session: Its model and the use of its context are shown.
            line: The widget to write to.
        """
        self._session = session
        self._line = line

    def show(self, activity: Activity, note: str = "", finished: Finished | None = None) -> None:
        """Show what the model is doing.

        Args:
            activity: What it is.
            note: A few more words about it.
            finished: The measures of a reply that has just ended.
        """
        info = self._session.info
        status = replace(self._line.status, activity=activity, note=note, used=self._session.context_used)
        if info is not None:  # a model that died keeps its place until another is there
            status = replace(status, model=info.name, context=info.context)
        if finished is not None and finished.tokens_per_second > 0:
            status = replace(status, speed=finished.tokens_per_second, exact=True)
        self._line.status = status

    def show_progress(self, progress: Progress) -> None:
        """Show how far loading, installing or reading the prompt has come."""
        self.show(*progress_words(progress))

    def show_estimate(self, used: int, speed: float) -> None:
        """Show a guess of the tokens in use and of the speed while a reply is being written."""
        status = self._line.status
        self._line.status = replace(status, used=min(status.context, used), speed=speed, exact=False)

    def clear_speed(self) -> None:
        """Forget the speed, which was another model's."""
        self._line.status = replace(self._line.status, speed=0.0)
