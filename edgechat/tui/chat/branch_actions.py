"""What can be done with a chat beside talking: its branches, deleting with undo, its name, and other chats.

It is the chat screen with these keys. Each action asks the session and shows what the session holds then; nothing of a
chat is kept here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from edgechat.chat.conversation import ReplyState
from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _, format_error
from edgechat.tui.chat.reply_controller import ChatScreen

if TYPE_CHECKING:
    from edgechat.chat.conversation import Turn
    from edgechat.session.session import Session, SessionEvent


class BranchingScreen(ChatScreen):
    """The chat screen, and all that changes which chat or branch it shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *ChatScreen.BINDINGS,
        Binding(
            "ctrl+r", "regenerate", N_("Again"), id="chat.regenerate", tooltip=N_("Answer the last message once more")
        ),
        Binding(
            "f7,ctrl+t",
            "resume",
            N_("Go on"),
            id="chat.resume",
            tooltip=N_("Go on with a reply that was stopped or cut, or with a chat that is open for reading"),
            priority=True,  # the composer would select everything
        ),
        Binding("ctrl+up", "edit", N_("Edit"), id="chat.edit", tooltip=N_("Edit the last message; the old one stays")),
        Binding(
            "alt+left,f3",
            "step(-1)",
            N_("Previous version"),
            id="chat.previous",
            tooltip=N_("The previous version of the chat"),
        ),
        Binding(
            "alt+right,f4", "step(1)", N_("Next version"), id="chat.next", tooltip=N_("The next version of the chat")
        ),
        Binding(
            "f8",
            "delete_turn",
            N_("Delete"),
            id="chat.delete",
            tooltip=N_("Delete the last message and its replies"),
        ),
        Binding("f9", "undelete", N_("Undo"), id="chat.undelete", tooltip=N_("Have back what was deleted last")),
        Binding("f2", "rename", N_("Rename"), id="chat.rename", tooltip=N_("Give the chat another title")),
    ]

    def __init__(self, session: Session, notices: Sequence[str] = ()) -> None:
        """Make the screen; see `ChatScreen`."""
        super().__init__(session, notices)
        self._edited: int | None = None

    @property
    def editing(self) -> bool:
        """Whether an earlier message is being edited."""
        return self._edited is not None

    def commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """The commands of the palette: title, help and action."""
        yield (
            _("Answer again"),
            _("Another reply to the last message; the old one stays (Ctrl+R)"),
            self.action_regenerate,
        )
        yield _("Go on with the reply"), _("Where it was stopped, cut or interrupted (F7)"), self.action_resume
        yield _("Edit the last message"), _("The old one and its replies stay (Ctrl+Up)"), self.action_edit
        yield _("Previous version"), _("The reply or branch before this one (Alt+Left)"), partial(self.action_step, -1)
        yield _("Next version"), _("The reply or branch after this one (Alt+Right)"), partial(self.action_step, 1)
        yield _("Delete the last message"), _("With its replies; F9 has it back (F8)"), self.action_delete_turn
        yield _("Delete this chat"), _("F9 has it back, for 30 days"), self.action_delete_chat
        yield _("Undo deleting"), _("Have back what was deleted last (F9)"), self.action_undelete
        yield _("Rename this chat"), _("Give it another title (F2)"), self.action_rename

    # Replies

    def answer_to(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """A message that is sent while an earlier one is edited takes its place."""
        if self._edited is None:
            return super().answer_to(text)
        edited, self._edited = self._edited, None
        self.composer.end_loan()
        return self.session.edit(edited, text)

    def action_regenerate(self) -> None:
        """Answer the last message once more."""
        if not self._free():
            return
        if self.session.conversation.turns:
            self.hold(self.session.regenerate())
        else:
            self._tell(_("There is no message to answer."))

    async def action_resume(self) -> None:
        """Go on with the last reply."""
        if not self._free():
            return
        turns = self.session.conversation.turns
        reply = turns[-1].reply if turns else None
        if reply is not None and reply.text and reply.state is not ReplyState.COMPLETE:
            self.hold(self.session.resume())
        else:
            self._tell(_("The last reply ended by itself; there is nothing to go on with."))

    def action_edit(self) -> None:
        """Take the last message into the composer; what was written there waits."""
        if turns := self.session.conversation.turns:
            self.edit_turn(turns[-1])

    def edit_turn(self, turn: Turn) -> None:
        """Take a message of the branch that is shown into the composer; what was written there waits."""
        if not self._free() or self._edited is not None:
            return
        self._edited = turn.id
        self.composer.lend(turn.user)
        self.composer.focus()
        last = turn.id == self.session.conversation.turns[-1].id
        words = _("editing the last message; Esc leaves it as it is")
        words = words if last else _("editing an earlier message; Esc leaves it as it is")
        self.composer.hint(words, short=_("editing; Esc leaves it as it is"))

    def action_stop(self) -> None:
        """Leave the message as it is while it is edited; else see `ChatScreen`."""
        if self._edited is None or self.sending:
            super().action_stop()
            return
        self._edited = None
        self.composer.end_loan()
        self.composer.hint("")

    # Branches and chats

    async def action_step(self, by: int) -> None:
        """Show the next or the previous version of the chat."""
        await self._change(self.session.step(by), _("There is no other version in that direction."))

    async def action_delete_turn(self) -> None:
        """Delete the last message and its replies."""
        if await self._change(self.session.delete_turn(), _("There is no message to delete.")):
            self._tell(_("The last message is deleted. F9 has it back."))

    async def action_delete_chat(self) -> None:
        """Delete the chat and begin another."""
        if await self._change(self.session.delete_chat(), _("There is no chat to delete.")):
            self._tell(_("The chat is deleted. F9 has it back, for 30 days."))

    async def action_undelete(self) -> None:
        """Have back what was deleted last."""
        await self._change(self.session.undelete(), _("Nothing was deleted here."))

    def action_rename(self) -> None:
        """Ask for another title."""
        from edgechat.tui.dialogs.text_prompt import AskCard

        if not self.session.conversation.id:
            self._tell(_("The chat has no message yet; its first one becomes its title."))
            return
        title = printable(self.session.conversation.title)

        async def rename(wanted: str | None) -> None:
            if wanted and wanted != title:
                await self._try(self.session.rename(wanted))
                self.chats_changed()

        self.app.push_screen(AskCard(_("Title of this chat"), title), rename)

    def chats_changed(self) -> None:
        """What a list of chats shows is no longer true."""

    async def redraw(self) -> None:
        """See `ChatScreen`; what was edited may not be there any more."""
        if self._edited is not None:
            self.action_stop()
        await super().redraw()

    async def _change(self, change: Awaitable[object], otherwise: str) -> bool:
        """Let the session change what it holds and show it; without a change say those words."""
        done = await self._try(change)
        if done:
            await self.redraw()
        elif done is False:
            self._tell(otherwise)
        return bool(done)

    async def _try(self, change: Awaitable[object]) -> object:
        """The result, or None after an error, which is told."""
        try:
            return await change
        except EdgechatError as error:
            self._tell(format_error(error.title, error.message, error.hint), "error")
            return None

    def _free(self) -> bool:
        """Whether a reply can be asked for; else say what to do."""
        return self._still()

    def _still(self) -> bool:
        """Whether no reply is being written; else say what to do."""
        if self.sending:
            self._tell(_("A reply is being written; Esc stops it."))
        return not self.sending

    def _tell(self, words: str, severity: str = "information") -> None:
        self.notify(printable(words), severity="error" if severity == "error" else "information", markup=False)
