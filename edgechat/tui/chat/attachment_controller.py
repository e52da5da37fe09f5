"""Text files that go along with a message: attached by a command, or offered when they are dropped on the terminal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import _, ngettext
from edgechat.tui import glyphs
from edgechat.tui.messages import CommandFailed
from edgechat.tui.widgets.suggestions import Choice

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.chat.draft_length import DraftLength
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.widgets.composer import Composer
    from edgechat.tui.widgets.suggestions import Suggestions


class AttachmentController:
    """Reads files and puts them into the composer, folded into a label each."""

    def __init__(
        self, session: Session, host: ScreenHost, composer: Composer, suggestions: Suggestions, length: DraftLength
    ) -> None:
        """Attach files to the message in a composer.

        Args:
            session: Counts their tokens.
            host: Runs the worker that reads them.
            composer: Where the message is written.
            suggestions: The list in which attaching is offered.
            length: Guesses the tokens that cannot be counted.
        """
        self._session = session
        self._host = host
        self._composer = composer
        self._suggestions = suggestions
        self._length = length

    async def attach(self, path: Path) -> None:
        """Attach a text file to the message being written.

        Raises:
            AttachmentError: It cannot be read, is not text, or is larger than the context.
        """
        from edgechat.slash.files import read_for

        attachment, tokens = await read_for(self._session, path)
        count = tokens if tokens is not None else self._length.estimate(attachment.block)
        sign = "" if tokens is not None else f"{glyphs.ABOUT} "
        size = ngettext("{n} token", "{n} tokens", count).format(n=f"{count:,}")
        name = attachment.name if len(attachment.name) <= 40 else f"{attachment.name[:39]}\u2026"
        self._composer.attach(f"{name}, {sign}{size}", attachment.block)
        self._composer.focus()

    def offer(self, dropped: Composer.Dropped) -> None:
        """Ask what to do with files that were dropped on the terminal."""
        names = ", ".join(path.name for path in dropped.paths)
        self._suggestions.offer(
            [
                Choice(_("Attach {names}").format(names=names), _("as text"), partial(self._accept, dropped)),
                Choice(_("Leave the path as it is"), "", lambda _send: None),
            ]
        )

    def _accept(self, dropped: Composer.Dropped, _send: bool) -> None:
        self._composer.replace_text(dropped.pasted, "")
        self._host.run_worker(self._attach_all(dropped), name="attach", group="command")

    async def _attach_all(self, dropped: Composer.Dropped) -> None:
        try:
            for path in dropped.paths:
                await self.attach(path)
        except EdgechatError as error:
            self._host.post_message(CommandFailed("", error))
