"""Notices about the context window: that it fills up, what to do when it is full, and the prompt that fills it.

It knows the session's window and nothing else about a reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechat.chat.context_window import ContextFullError, Policy
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error
from edgechat.tui.messages import PromptCame, PromptFailed

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.turn_view import TurnView

_FULL_HINT = N_(
    "F5 leaves them out, F6 has the model sum them up, and both send the message; Ctrl+N begins a new chat."
)

_THEN: dict[Policy, str] = {
    "ask": N_("When a chat is full, you will be asked what may be left out."),
    "oldest": N_("When a chat is full, its oldest messages are no longer sent to the model."),
    "summarise": N_("When a chat is full, the model sums up its oldest messages."),
}


class ContextNotices:
    """Warns about the context window and offers what can be done about it."""

    def __init__(self, session: Session, host: ScreenHost, composer: Composer) -> None:
        """Start with nothing to warn about.

        Args:
            session: Whose window it is.
            host: Shows notifications and cards.
            composer: Holds the message that had to wait because the chat was full.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._full = False
        self._warned = False

    def reset(self) -> None:
        """Forget what was said: a new chat starts."""
        self._full = self._warned = False

    def explain(self, error: EdgechatError) -> EdgechatError:
        """The error as it is shown here: where the chat is full, its hint names the keys that help."""
        self._full = isinstance(error, ContextFullError)
        return EdgechatError(error.title, error.message, _(_FULL_HINT)) if self._full else error

    async def warn(self, turn: TurnView) -> None:
        """Say under an answered turn that the context is nearly full, once each time that it becomes so."""
        self._full = False
        words = self._session.context_words
        if words and not self._warned:
            await turn.tell(words)
        self._warned = bool(words)

    def choose_policy(self, policy: Policy) -> None:
        """Set what happens when a chat no longer fits, for this run; send the message that waited for the choice."""
        try:
            self._session.choose_policy(policy)
        except EdgechatError as error:
            self._notify_error(error)
            return
        if self._full and policy != "ask":
            self._full = False
            self._composer.action_submit()
        else:
            self._host.notify(_(_THEN[policy]), markup=False)

    # The prompt

    def request_prompt(self) -> None:
        """Show what the model would read for the message in the composer; without one, what it read last."""
        draft = self._composer.message
        title = _("The prompt of the message being written") if draft else _("The prompt of the last reply")
        self._request(draft, None, title)

    def request_prompt_of(self, turn_id: int) -> None:
        """Show what the model read for the reply to that turn."""
        self._request("", turn_id, _("The prompt of this reply"))

    def _request(self, draft: str, turn_id: int | None, title: str) -> None:
        work = self._fetch(draft, turn_id, title)
        self._host.run_worker(work, name="prompt", exclusive=True, group="prompt")

    async def _fetch(self, draft: str, turn_id: int | None, title: str) -> None:
        try:
            self._host.post_message(PromptCame(await self._session.prompts.parts(draft, turn_id), title))
        except EdgechatError as error:
            self._host.post_message(PromptFailed(error))

    def show_prompt(self, message: PromptCame) -> None:
        """Open the card with the prompt that was requested."""
        from edgechat.tui.dialogs.prompt import PromptScreen  # its style sheet is for those who open it

        self._host.app.push_screen(PromptScreen(message.prompt, message.title))

    def show_prompt_failure(self, message: PromptFailed) -> None:
        """Say why the prompt cannot be shown."""
        self._notify_error(message.error)

    def _notify_error(self, error: EdgechatError) -> None:
        self._host.notify(format_error(error.title, error.message), severity="error", markup=False)
