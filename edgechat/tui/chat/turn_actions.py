"""Reading mode: what is done with one turn of the chat, chosen by its keys in the conversation.

Each action asks the session and then shows what the session holds. Nothing is kept here but which block of code was
copied last, so that the next one can follow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on
from textual.binding import Binding, BindingType

from edgechat.chat.conversation import Turn
from edgechat.i18n.catalog import N_, _, ngettext
from edgechat.tui.chat.branch_actions import BranchingScreen
from edgechat.tui.clipboard import EXPORT, copy
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.conversation import ConversationView

if TYPE_CHECKING:
    from edgechat.session.session import Session, SessionEvent

HINT = N_("reading: j k move · y copy · e edit · r again · F1 all keys · Enter writes")
SHORT_HINT = N_("reading: F1 keys · Enter writes")


class ReadingScreen(BranchingScreen):
    """The chat screen, and what can be done with each of its turns."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *BranchingScreen.BINDINGS,
        Binding("shift+tab", "read", N_("Read"), id="chat.read", tooltip=N_("Read: choose a message and what to do")),
    ]

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen; see `ChatScreen`."""
        super().__init__(session, notices)
        self._copied: tuple[int, int] = (0, -1)

    @on(Composer.Left)
    async def action_read(self) -> None:
        """Go to the conversation, with its last turn marked."""
        if turns := self.session.conversation.turns:
            await self.view.read(turns[-1].id)

    def action_stop(self) -> None:
        """Stop a reply or a model's loading, or leave what is edited or selected; with nothing of the kind, read."""
        if self.sending or self.loading_model or self.editing or self.app.switching or self.get_selected_text():
            super().action_stop()
        elif self.composer.has_focus:
            self.call_next(self.action_read)

    @on(ConversationView.Entered)
    def _tell_keys(self) -> None:
        if not self.sending:
            self.composer.hint(_(HINT), short=_(SHORT_HINT))

    @on(ConversationView.Left)
    def _write_again(self) -> None:
        if self.sending:
            self.action_stop()
        self.composer.focus()

    @on(ConversationView.Exited)
    def _tell_no_keys(self) -> None:
        if not self.sending and not self.editing:
            self.composer.hint("")

    @on(ConversationView.Asked)
    async def _do(self, message: ConversationView.Asked) -> None:
        turn = message.turn
        actions: dict[str, Callable[[Turn], Awaitable[None] | None]] = {
            "copy": self._copy,
            "code": self._copy_code,
            "edit": self.edit_turn,
            "again": self._again,
            "resume": lambda _turn: self.action_resume(),
            "cycle": self._cycle,
            "previous": partial(self._step, -1),
            "following": partial(self._step, 1),
            "delete": self._delete,
            "undo": self._undo,
            "like": partial(self._rate, 1),
            "dislike": partial(self._rate, -1),
            "note": self._note,
            "prompt": lambda turn: self.show_prompt_of(turn.id),
            "pin": self._pin,
        }
        done = actions[message.action](turn)
        if done is not None:
            await done

    # What the keys do

    def _copy(self, turn: Turn) -> None:
        if turn.reply is not None and turn.reply.text:
            copy(self.app, turn.reply.text, _("The reply is in the clipboard."), _(EXPORT))
        else:
            copy(self.app, turn.user, _("The message is in the clipboard; it has no reply."), _(EXPORT))

    def _copy_code(self, turn: Turn) -> None:
        from edgechat.tui.widgets.markdown_parser import code_blocks  # the parser is a good part of the start

        blocks = code_blocks(turn.reply.text if turn.reply is not None else "")
        if not blocks:
            self._tell(_("There is no block of code in this reply."))
            return
        before, last = self._copied
        place = (last + 1) % len(blocks) if before == turn.id else 0
        self._copied = (turn.id, place)
        words = _("Code {n} of {total} is in the clipboard.").format(n=place + 1, total=len(blocks))
        copy(self.app, blocks[place], words, _(EXPORT))

    def _again(self, turn: Turn) -> None:
        if not self._free():
            return
        if turn.id == self.session.conversation.turns[-1].id:
            self.hold(self.session.regenerate())
        else:  # what follows was said to the reply that is there, and stays with it on a branch of its own
            self.hold(self.session.edit(turn.id, turn.user))

    async def _step(self, by: int, turn: Turn) -> None:
        place = self._place(turn)
        if await self._change(self.session.step(by, turn.id), _("There is no other version in that direction.")):
            await self._read_on(place)

    async def _cycle(self, turn: Turn) -> None:
        place = self._place(turn)
        if await self._change(self._step_around(place), _("There is one version of this only.")):
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
        return await self.session.step(by, self.session.conversation.turns[place].id)

    async def _delete(self, turn: Turn) -> None:
        turns = self.session.conversation.turns
        place = self._place(turn)
        count = len(turns) - place
        if await self._change(self.session.delete_turn(turn.id), _("There is no message to delete.")):
            words = ngettext(
                "{n} message is deleted. F9 has it back.", "{n} messages are deleted. F9 has them back.", count
            )
            self._tell(words.format(n=count))
            await self._read_on(place)

    async def _undo(self, _turn: Turn) -> None:
        await self.action_undelete()
        await self._read_on(len(self.session.conversation.turns) - 1)

    async def _rate(self, rating: Literal[-1, 1], turn: Turn) -> None:
        reply = turn.reply
        if reply is None:
            self._tell(_("There is no reply here."))
            return
        wanted: Literal[-1, 0, 1] = 0 if reply.rating == rating else rating
        await self._try(self.session.rate(reply.id, wanted))
        await self._retell()

    def _note(self, turn: Turn) -> None:
        from edgechat.tui.dialogs.text_prompt import AskCard

        reply = turn.reply
        if reply is None:
            self._tell(_("There is no reply here."))
            return

        async def keep(words: str | None) -> None:
            if words is not None:
                await self._try(self.session.rate(reply.id, reply.rating, words))
                await self._retell()

        self.app.push_screen(AskCard(_("A note about this reply"), reply.note), keep)

    async def _pin(self, turn: Turn) -> None:
        await self._try(self.session.pin_turn(turn.id, not turn.pinned))
        await self._retell()

    # Afterwards

    async def _retell(self) -> None:
        """What is said under the turns may have changed."""
        await self.view.tell(self.session.conversation.turns)

    def _place(self, turn: Turn) -> int:
        ids = [other.id for other in self.session.conversation.turns]
        return ids.index(turn.id) if turn.id in ids else len(ids) - 1

    async def _read_on(self, place: int) -> None:
        """Go on reading at that place of the branch that is shown now."""
        turns = self.session.conversation.turns
        if turns:
            await self.view.read(turns[min(place, len(turns) - 1)].id)

    def answer_to(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """See `BranchingScreen`."""
        self._copied = (0, -1)
        return super().answer_to(text)
