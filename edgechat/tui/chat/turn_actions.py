"""Actions on one turn of the chat, chosen by its keys in the conversation while it is read.

Each asks the session and then shows what it holds. Nothing is stored here but which block of code was copied last, so
that the next one can follow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from edgechat.i18n.catalog import N_, _, ngettext
from edgechat.tui.clipboard import EXPORT, copy

if TYPE_CHECKING:
    from edgechat.chat.conversation import Turn
    from edgechat.session.session import Session
    from edgechat.tui.chat.branch_actions import BranchActions
    from edgechat.tui.chat.context_notices import ContextNotices
    from edgechat.tui.chat.host import ScreenHost
    from edgechat.tui.chat.session_changes import SessionChanges
    from edgechat.tui.widgets.conversation import ConversationView

HINT = N_("reading: j k move · y copy · e edit · r again · F1 all keys · Enter writes")
SHORT_HINT = N_("reading: F1 keys · Enter writes")

_NOTHING_COPIED = (0, -1)


class TurnActions:
    """Does something with the turn that is marked."""

    def __init__(
        self,
        session: Session,
        host: ScreenHost,
        view: ConversationView,
        branches: BranchActions,
        changes: SessionChanges,
        context: ContextNotices,
    ) -> None:
        """Act on the turns of a session.

        Args:
            session: The chats.
            host: Opens cards, and has the clipboard.
            view: Where the turns are read.
            branches: Does what is also done with the whole chat.
            changes: Shows what was changed.
            context: Shows the prompt of a reply.
        """
        self._session = session
        self._host = host
        self._view = view
        self._branches = branches
        self._changes = changes
        self._context = context
        self._copied: tuple[int, int] = _NOTHING_COPIED
        self._actions: dict[str, Callable[[Turn], Awaitable[None] | None]] = {
            "copy": self._copy,
            "code": self._copy_code,
            "edit": branches.edit_turn,
            "again": branches.regenerate_turn,
            "resume": lambda _turn: branches.resume(),
            "cycle": self._cycle,
            "previous": partial(self._step, -1),
            "following": partial(self._step, 1),
            "delete": self._delete,
            "undo": self._undo,
            "like": partial(self._rate, 1),
            "dislike": partial(self._rate, -1),
            "note": self._note,
            "prompt": lambda turn: context.request_prompt_of(turn.id),
            "pin": self._pin,
        }

    async def run(self, action: str, turn: Turn) -> None:
        """Do what a key asks for.

        Args:
            action: Its name.
            turn: The turn it is about.
        """
        done = self._actions[action](turn)
        if done is not None:
            await done

    async def read_last(self) -> None:
        """Go to the conversation, with its last turn marked."""
        if turns := self._session.conversation.turns:
            await self._view.read(turns[-1].id)

    def forget_copied_code(self) -> None:
        """Start with the first block of code again."""
        self._copied = _NOTHING_COPIED

    # What the keys do

    def _copy(self, turn: Turn) -> None:
        app = self._host.app
        if turn.reply is not None and turn.reply.text:
            copy(app, turn.reply.text, _("The reply is in the clipboard."), _(EXPORT))
        else:
            copy(app, turn.user, _("The message is in the clipboard; it has no reply."), _(EXPORT))

    def _copy_code(self, turn: Turn) -> None:
        from edgechat.tui.widgets.markdown_parser import code_blocks  # the parser is a good part of the start

        blocks = code_blocks(turn.reply.text if turn.reply is not None else "")
        if not blocks:
            self._changes.notify(_("There is no block of code in this reply."))
            return
        before, last = self._copied
        place = (last + 1) % len(blocks) if before == turn.id else 0
        self._copied = (turn.id, place)
        words = _("Code {n} of {total} is in the clipboard.").format(n=place + 1, total=len(blocks))
        copy(self._host.app, blocks[place], words, _(EXPORT))

    async def _step(self, by: int, turn: Turn) -> None:
        place = self._place(turn)
        otherwise = _("There is no other version in that direction.")
        if await self._changes.apply(self._session.chat.step(by, turn.id), otherwise):
            await self._read_on(place)

    async def _cycle(self, turn: Turn) -> None:
        place = self._place(turn)
        if await self._changes.apply(self._step_around(place), _("There is one version of this only.")):
            await self._read_on(place)

    async def _step_around(self, place: int) -> bool:
        """The next version of the turn there; after the last one the first."""
        if await self._step_at(1, place):
            return True
        moved = False
        while await self._step_at(-1, place):
            moved = True
        return moved

    async def _step_at(self, by: int, place: int) -> bool:
        return await self._session.chat.step(by, self._session.conversation.turns[place].id)

    async def _delete(self, turn: Turn) -> None:
        turns = self._session.conversation.turns
        place = self._place(turn)
        count = len(turns) - place
        if await self._changes.apply(self._session.library.delete_turn(turn.id), _("There is no message to delete.")):
            words = ngettext(
                "{n} message is deleted. F9 has it back.", "{n} messages are deleted. F9 has them back.", count
            )
            self._changes.notify(words.format(n=count))
            await self._read_on(place)

    async def _undo(self, _turn: Turn) -> None:
        await self._branches.undelete()
        await self._read_on(len(self._session.conversation.turns) - 1)

    async def _rate(self, rating: Literal[-1, 1], turn: Turn) -> None:
        reply = turn.reply
        if reply is None:
            self._changes.notify(_("There is no reply here."))
            return
        wanted: Literal[-1, 0, 1] = 0 if reply.rating == rating else rating
        await self._changes.attempt(self._session.chat.rate(reply.id, wanted))
        await self._refresh()

    def _note(self, turn: Turn) -> None:
        from edgechat.tui.dialogs.text_prompt import AskCard

        reply = turn.reply
        if reply is None:
            self._changes.notify(_("There is no reply here."))
            return

        async def save(words: str | None) -> None:
            if words is not None:
                await self._changes.attempt(self._session.chat.rate(reply.id, reply.rating, words))
                await self._refresh()

        self._host.app.push_screen(AskCard(_("A note about this reply"), reply.note), save)

    async def _pin(self, turn: Turn) -> None:
        await self._changes.attempt(self._session.chat.pin_turn(turn.id, not turn.pinned))
        await self._refresh()

    # Afterwards

    async def _refresh(self) -> None:
        """What is said under the turns may have changed."""
        await self._view.tell(self._session.conversation.turns)

    def _place(self, turn: Turn) -> int:
        ids = [other.id for other in self._session.conversation.turns]
        return ids.index(turn.id) if turn.id in ids else len(ids) - 1

    async def _read_on(self, place: int) -> None:
        """Go on reading at that place of the branch that is shown now."""
        turns = self._session.conversation.turns
        if turns:
            await self._view.read(turns[min(place, len(turns) - 1)].id)
