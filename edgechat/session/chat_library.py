"""Which chat is held, and everything about it but talking: its branches, its name, deleting with undo.

The session talks in the chat that is held here. Nothing here needs an engine, and nothing changes the chat while a
reply is being written.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from edgechat.chat.conversation import ChatSettings, Conversation, Reply, Turn
from edgechat.chat.sanitize import storable
from edgechat.errors import ConfigError, EngineError
from edgechat.history.drafts import Draft
from edgechat.history.feedback import Rating
from edgechat.history.search import SearchHit
from edgechat.history.store import ConversationSummary, HistoryStore

if TYPE_CHECKING:
    from edgechat.history.transfer.exporter import Format


_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Chat = TypeVar("_Chat", bound="KeptChat")


def one_at_a_time(
    change: Callable[Concatenate[_Chat, _Given], Awaitable[_Result]],
) -> Callable[Concatenate[_Chat, _Given], Coroutine[Any, Any, _Result]]:
    """Let a change of what is held begin when the one before it is over; it may call others itself."""

    @functools.wraps(change)
    async def waiting(self: _Chat, /, *args: _Given.args, **named: _Given.kwargs) -> _Result:
        if self._changer is asyncio.current_task():
            return await change(self, *args, **named)
        async with self._changing:
            self._changer = asyncio.current_task()
            try:
                return await change(self, *args, **named)
            finally:
                self._changer = None

    return waiting


class KeptChat:
    """One chat at a time, of those in a history."""

    def __init__(self, store: HistoryStore, conversation: Conversation | None, system: str) -> None:
        self._store = store
        self._system = system
        self._locked: frozenset[str] = frozenset()
        self._conversation = conversation or Conversation(0, system=system)
        self._deleted: list[tuple[int, int | None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._changer: asyncio.Task[Any] | None = None

    @property
    def locked(self) -> frozenset[str]:
        """Settings that no chat may have of its own, whatever it was begun or brought here with."""
        return self._locked

    @locked.setter
    def locked(self, keys: frozenset[str]) -> None:
        self._locked = keys
        self._conversation = self._as_allowed(self._conversation)

    def _as_allowed(self, conversation: Conversation) -> Conversation:
        """A chat without what the device's owner decides; the store keeps what it has."""
        system = self._system if "system" in self._locked else conversation.system
        taken = {key: None for key in asdict(conversation.settings) if key in self._locked}
        return replace(conversation, system=system, settings=replace(conversation.settings, **taken))

    def _refuse_locked(self, *keys: str) -> None:
        """Raise ConfigError where the device's owner decides one of these settings."""
        if fixed := [key for key in keys if key in self._locked]:
            raise ConfigError("Setting is locked", f"{', '.join(fixed)}: this device's file decides.")

    @property
    def conversation_id(self) -> int:
        """The chat that is held; 0 until its first message."""
        return self._conversation.id

    @property
    def busy(self) -> bool:
        """Whether a reply is running."""
        return not self._idle.is_set()

    def new(self) -> None:
        """Begin another chat with the same settings. The old one stays in the store.

        Raises:
            EngineError: A reply is running.
        """
        self._refuse_while_busy()
        self._conversation = Conversation(0, system=self._system)

    def use_system(self, system: str) -> None:
        """Begin chats with another system message from now on; one that has no message yet has just begun."""
        if not self._conversation.id and self._conversation.system == self._system:
            self._conversation = replace(self._conversation, system=system)
        self._system = system

    @one_at_a_time
    async def open(self, conversation_id: int, turn: int | None = None, reply: int | None = None) -> Conversation:
        """Go to another chat. An empty one is not kept.

        Args:
            conversation_id: The chat.
            turn: A turn whose branch is to be shown; None is the branch that was shown last.
            reply: A reply of that turn that is to be shown.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such chat.
        """
        self._refuse_while_busy()
        found = await asyncio.to_thread(self._store.conversation, conversation_id)
        if turn is not None and turn not in {shown.id for shown in found.turns}:
            await asyncio.to_thread(self._store.branches.show_turn, turn)
        if reply is not None:
            await asyncio.to_thread(self._store.branches.show_reply, reply)
        if turn is not None or reply is not None:
            found = await asyncio.to_thread(self._store.conversation, conversation_id)
        self._conversation = self._as_allowed(found)
        return self._conversation

    async def chats(
        self, words: str = "", limit: int = 100, *, archived: bool = False
    ) -> list[ConversationSummary] | list[SearchHit]:
        """The chats to choose from, or, for some words, where they were said.

        Args:
            words: What to search for; empty lists the chats.
            limit: The most to list; a search finds what it finds.
            archived: List those that are archived, instead of those that are not.

        Raises:
            StorageError: The history cannot be read.
        """
        if words.strip():
            return await asyncio.to_thread(self._store.search.find, words)
        return await asyncio.to_thread(self._store.list_conversations, limit, archived=archived)

    @one_at_a_time
    async def step(self, by: int, turn_id: int | None = None) -> bool:
        """Show the next (1) or the previous (-1) version of the chat, or of one turn in it.

        The versions of the chat are the replies to the last message, then the siblings of that message, then those of
        the one before it, and so on: the first of these that has another one in that direction. The versions of a turn
        are the replies to it, and then its siblings.

        Args:
            by: 1 or -1.
            turn_id: The turn whose versions are meant; None for those of the chat.

        Returns:
            Whether there was one.

        Raises:
            EngineError: A reply is running.
            StorageError: The history cannot be written.
        """
        self._refuse_while_busy()
        turns = self._conversation.turns
        for turn in reversed(turns):
            if turn_id not in (None, turn.id):
                continue
            own = turn_id is not None or turn is turns[-1]
            if own and 0 <= turn.active + by < len(turn.replies):
                await asyncio.to_thread(self._store.branches.show_reply, turn.replies[turn.active + by].id)
                break
            place = turn.siblings.index(turn.id) + by if turn.id in turn.siblings else -1
            if 0 <= place < len(turn.siblings):
                await asyncio.to_thread(self._store.branches.show_turn, turn.siblings[place])
                break
        else:
            return False
        await self.open(self._conversation.id)
        return True

    @one_at_a_time
    async def delete_turn(self, turn_id: int | None = None) -> bool:
        """Delete a message, its replies and what follows it; `undelete` has them back. Returns whether there was one.

        Args:
            turn_id: The turn; None for the last one.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such turn, or it cannot be written.
        """
        self._refuse_while_busy()
        if not self._conversation.turns:
            return False
        turn, chat = turn_id or self._conversation.turns[-1].id, self._conversation.id
        await asyncio.to_thread(self._store.branches.delete_turn, turn)
        self._deleted.append((chat, turn))
        await self.open(chat)
        return True

    @one_at_a_time
    async def delete_chat(self, chat_id: int | None = None) -> bool:
        """Delete a chat; `undelete` has it back. Returns whether there was one.

        Args:
            chat_id: The chat; None for the one that is held, and then another one is begun.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such chat, or it cannot be written.
        """
        self._refuse_while_busy()
        if not (chat := chat_id or self._conversation.id):
            return False
        await asyncio.to_thread(self._store.chats.delete, chat)
        self._deleted.append((chat, None))
        if chat == self._conversation.id:
            self.new()
        return True

    @one_at_a_time
    async def undelete(self) -> bool:
        """Have back what was deleted last here, and go to its chat. Returns whether there was anything."""
        self._refuse_while_busy()
        if not self._deleted:
            return False
        chat, turn = self._deleted.pop()
        if turn is None:
            await asyncio.to_thread(self._store.chats.undelete, chat)
        else:
            await asyncio.to_thread(self._store.branches.undelete_turn, turn)
        await self.open(chat)
        return True

    async def rename(self, title: str, chat_id: int | None = None) -> None:
        """Give a chat another title; nothing happens to one without a message.

        Args:
            title: The title; white space counts as a space.
            chat_id: The chat; None for the one that is held.

        Raises:
            StorageError: There is no such chat, or it cannot be written.
        """
        words = storable(" ".join(title.split()))[0]
        if (chat := chat_id or self._conversation.id) and words:
            await asyncio.to_thread(self._store.chats.rename, chat, words)
            if chat == self._conversation.id:
                self._conversation = replace(self._conversation, title=words)

    @one_at_a_time
    async def configure(self, system: str, settings: ChatSettings) -> None:
        """Give the chat a system message and settings of its own, for its next reply.

        Raises:
            ConfigError: One of them is locked by the device.
            EngineError: A reply is running.
        """
        self._refuse_while_busy()
        before = {"system": self._conversation.system, **asdict(self._conversation.settings)}
        after = {"system": system, **asdict(settings)}
        self._refuse_locked(*(key for key in before if before[key] != after[key]))
        if self._conversation.id:
            await asyncio.to_thread(self._store.chats.configure, self._conversation.id, system, settings)
        self._conversation = replace(self._conversation, system=system, settings=settings)

    async def draft(self) -> Draft:
        """The message that was being written in this chat."""
        return await asyncio.to_thread(self._store.drafts.get, self._conversation.id)

    async def keep_draft(self, conversation_id: int, draft: Draft) -> None:
        """Keep the message being written in a chat; 0 is the one that has no message yet. Raises StorageError."""
        await asyncio.to_thread(self._store.drafts.save, conversation_id, draft)

    async def sent_before(self) -> list[str]:
        """The messages sent last in all chats, the newest at the end."""
        return await asyncio.to_thread(self._store.drafts.sent)

    async def export(self, form: Format) -> str:
        """The chat as text; empty where it has no message yet. Raises StorageError."""
        return await asyncio.to_thread(self._store.export, self._conversation.id, form)

    async def rate(self, reply_id: int, rating: Rating, note: str | None = None) -> None:
        """Keep what the user thinks of a reply, also while another one is written.

        Args:
            reply_id: The reply; `Reply.rating` and `Reply.note` of the conversation say it from then on.
            rating: 1 good, -1 bad; 0 takes an earlier one back.
            note: The user's words, "" for none; None leaves the words that are there.

        Raises:
            StorageError: There is no such reply, or it cannot be written.
        """
        words = None if note is None else storable(note.strip())[0]
        await asyncio.to_thread(self._store.feedback.rate, reply_id, rating, words)

        def rated(reply: Reply) -> Reply:
            if reply.id != reply_id:
                return reply
            return replace(reply, rating=rating, note=reply.note if words is None else words)

        self._change_turns(lambda turn: replace(turn, replies=tuple(map(rated, turn.replies))))

    async def pin_turn(self, turn_id: int, pinned: bool) -> None:
        """Let a turn always be sent, whatever has to leave the context, or no longer.

        Raises:
            StorageError: There is no such turn, or it cannot be written.
        """
        await asyncio.to_thread(self._store.branches.pin_turn, turn_id, pinned)
        self._change_turns(lambda turn: replace(turn, pinned=pinned) if turn.id == turn_id else turn)

    async def pin(self, chat_id: int, pinned: bool) -> None:
        """Let lists show a chat before the others, or no longer. Raises StorageError."""
        await asyncio.to_thread(self._store.chats.pin, chat_id, pinned)
        if chat_id == self._conversation.id:
            self._conversation = replace(self._conversation, pinned=pinned)

    async def archive(self, chat_id: int, archived: bool) -> None:
        """Let lists leave out a chat, or no longer; search still finds it. Raises StorageError."""
        await asyncio.to_thread(self._store.chats.archive, chat_id, archived)
        if chat_id == self._conversation.id:
            self._conversation = replace(self._conversation, archived=archived)

    def _change_turns(self, change: Callable[[Turn], Turn]) -> None:
        """Have the turns of the chat that is held changed as the store was."""
        self._conversation = replace(self._conversation, turns=tuple(map(change, self._conversation.turns)))

    async def housekeep(self) -> None:
        """Make today's backup and purge what was deleted long ago, in a thread of their own. Raises StorageError."""
        await asyncio.to_thread(self._store.housekeep)

    async def _settled(self) -> None:
        """Wait until no other chat or branch is about to be held; a message must not be said into the wrong one."""
        async with self._changing:
            pass

    def _refuse_while_busy(self) -> None:
        if self.busy:
            raise EngineError("A reply is being written", "One message is answered at a time.", "Stop it, or wait.")
