"""What a chat screen does about the context: tells that it fills, offers what to do then, shows the prompt.

It is the part of the chat screen that knows of the session's window, and of nothing else of a reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding

from edgechat.chat.context_window import ContextFullError, Policy
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _, format_error
from edgechat.tui.messages import PromptCame, PromptFailed
from edgechat.tui.rtl import DirectedScreen

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.turn_view import TurnView

CONTEXT_BINDINGS = (
    Binding(
        "f5",
        "choose_policy('oldest')",
        N_("Leave out"),
        id="chat.leave_out",
        tooltip=N_("When the chat is full: send on without its oldest messages"),
    ),
    Binding(
        "f6",
        "choose_policy('summarise')",
        N_("Sum up"),
        id="chat.sum_up",
        tooltip=N_("When the chat is full: have the model sum up its oldest messages"),
        priority=True,  # the composer would select a line
    ),
)

_FULL_HINT = N_(
    "F5 leaves them out, F6 has the model sum them up, and both send the message; Ctrl+N begins a new chat."
)

_THEN: dict[Policy, str] = {
    "ask": N_("When a chat is full, you will be asked what may be left out."),
    "oldest": N_("When a chat is full, its oldest messages are no longer sent to the model."),
    "summarise": N_("When a chat is full, the model sums up its oldest messages."),
}


class ContextScreen(DirectedScreen):
    """A screen with a session and a composer."""

    def __init__(self, session: Session) -> None:
        """Make the screen.

        Args:
            session: What is talked to.
        """
        super().__init__()
        self.session = session
        self._full = False
        self._warned = False

    @property
    def composer(self) -> Composer:
        """Where the message is written."""
        raise NotImplementedError

    def forget_context(self) -> None:
        """Another chat begins."""
        self._full = self._warned = False

    def explain_full(self, error: EdgechatError) -> EdgechatError:
        """The error as it is shown here: a chat that is full has keys to go on with."""
        self._full = isinstance(error, ContextFullError)
        return EdgechatError(error.title, error.message, _(_FULL_HINT)) if self._full else error

    async def warn_of_context(self, turn: TurnView) -> None:
        """Tell under an answered turn that the context is nearly full, once for each time that it becomes so."""
        self._full = False
        words = self.session.context_words
        if words and not self._warned:
            await turn.tell(words)
        self._warned = bool(words)

    def action_choose_policy(self, policy: Policy) -> None:
        """Set what happens when a chat no longer fits, until the program ends; send what had to wait for this."""
        try:
            self.session.choose_policy(policy)
        except EdgechatError as error:
            self.notify(format_error(error.title, error.message), severity="error", markup=False)
            return
        if self._full and policy != "ask":
            self._full = False
            self.composer.action_submit()
        else:
            self.notify(_(_THEN[policy]), markup=False)

    def action_show_prompt(self) -> None:
        """Show what the message in the composer makes the model read; without one, what it read last."""
        draft = self.composer.message
        title = _("The prompt of the message being written") if draft else _("The prompt of the last reply")
        self._show_prompt_soon(draft, None, title)

    def show_prompt_of(self, turn_id: int) -> None:
        """Show what the model read for a reply."""
        self._show_prompt_soon("", turn_id, _("The prompt of this reply"))

    def _show_prompt_soon(self, draft: str, turn_id: int | None, title: str) -> None:
        asked = self._ask_for_prompt(draft, turn_id, title)
        self.run_worker(asked, name="prompt", exclusive=True, group="prompt")

    async def _ask_for_prompt(self, draft: str, turn_id: int | None, title: str) -> None:
        try:
            self.post_message(PromptCame(await self.session.prompt_parts(draft, turn_id), title))
        except EdgechatError as error:
            self.post_message(PromptFailed(error))

    @on(PromptCame)
    def _show_prompt(self, message: PromptCame) -> None:
        from edgechat.tui.dialogs.prompt import PromptScreen  # its style sheet is for those who open it

        self.app.push_screen(PromptScreen(message.prompt, message.title))

    @on(PromptFailed)
    def _show_failed_prompt(self, message: PromptFailed) -> None:
        error = message.error
        self.notify(format_error(error.title, error.message), severity="error", markup=False)
