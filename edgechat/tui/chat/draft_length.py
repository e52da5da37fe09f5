"""How many tokens the message being written has: guessed at every key, counted in a pause.

The model may read the message in that pause as well, so that what is sent unchanged is answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _, ngettext
from edgechat.slash import is_command
from edgechat.tui import glyphs
from edgechat.tui.messages import TokensCounted

if TYPE_CHECKING:
    from textual.timer import Timer

    from edgechat.session.session import Session
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.widgets.composer import Composer

COUNT_AFTER = 0.4
"""Seconds without a key after which the message's tokens are counted and computed."""

CHARACTERS_A_TOKEN = 4.0
"""A guess, until something was counted."""


class DraftLength:
    """Shows the length of the message being written on the edge of the composer."""

    def __init__(self, session: Session, host: ScreenHost, composer: Composer) -> None:
        """Start with a guess of how many characters make a token.

        Args:
            session: Counts.
            host: Runs the timer and the worker that count.
            composer: Where the message is written.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._timer: Timer | None = None
        self._counting = False
        self._ratio = CHARACTERS_A_TOKEN

    def update(self) -> None:
        """Show a guess now, as message or chat have changed, and count once nobody writes."""
        length = len(self._composer.message)
        self._show(round(length / self._ratio) if length else 0, exact=False)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._host.set_timer(COUNT_AFTER, self._count_soon)

    def estimate(self, text: str) -> int:
        """About how many tokens a text has; at least one."""
        return max(1, round(len(text) / self._ratio))

    def _count_soon(self) -> None:
        self._timer = None
        if self._counting:
            return
        message = "" if is_command(self._composer.text) else self._composer.message
        if not self._composer.pending.editing:  # else it belongs to another place of the chat
            self._session.warm(message if message.strip() else "")
        if message.strip():
            self._counting = True
            self._host.run_worker(self._count(message), name="count", group="count")

    async def _count(self, text: str) -> None:
        try:
            tokens = await self._session.prompts.count(text)
        except EdgechatError:
            tokens = None  # the error is shown to whoever sends the message
        self._host.post_message(TokensCounted(text, tokens))

    def counted(self, message: TokensCounted) -> None:
        """Show what was counted, unless the message has changed since."""
        self._counting = False
        if message.tokens:
            self._ratio = len(message.text) / message.tokens
        if self._composer.message != message.text:
            if self._timer is None:
                self._timer = self._host.set_timer(COUNT_AFTER, self._count_soon)
        elif message.tokens is not None:
            self._show(message.tokens, exact=True)

    def _show(self, tokens: int, *, exact: bool) -> None:
        if not tokens or is_command(self._composer.text):
            self._composer.edge.length("")
            return
        words = short = ngettext("{n} token", "{n} tokens", tokens).format(n=f"{tokens:,}")
        context = self._session.info.context if self._session.info is not None else 0
        used = self._session.context_used + tokens
        if context:
            words = _("{tokens}, {used:,} of {context:,} with the chat").format(
                tokens=short, used=used, context=context
            )
            short = _("{tokens}, {used:,} of {context:,}").format(tokens=short, used=used, context=context)
        about = "" if exact else f"{glyphs.ABOUT} "
        urgent = bool(context) and used >= context
        self._composer.edge.length(about + words, short=about + short, urgent=urgent)
