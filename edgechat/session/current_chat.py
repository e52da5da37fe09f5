"""The chat that is open: its settings, the branch that is shown, and the reply being written in it.

It mirrors in memory what the store has of one chat. Nothing here needs an engine; what the model is sent of the chat is
the prompt builder's business, and when a reply begins and ends is the reply runner's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from edgechat.chat.conversation import ChatSettings, Conversation, Reply, Turn, Window
from edgechat.chat.sanitize import storable
from edgechat.errors import EngineError, StorageError
from edgechat.history.drafts import Draft
from edgechat.history.feedback import Rating
from edgechat.history.rows import title_of
from edgechat.history.store import HistoryStore
from edgechat.session.activity import Activity
from edgechat.session.setting_locks import SettingLocks

if TYPE_CHECKING:
    from edgechat.history.transfer.exporter import Format


class CurrentChat:
    """One chat at a time, of those in a history.

    State: the chat as the store has it (`committed`), and the turn whose reply is being written, if any. The id is 0
    until the first message is saved. Another chat or branch is never opened while a reply is written, and one such
    change begins only after the one before it is over.

    Attributes:
        changing: Held while another chat or branch is being opened.
    """

    def __init__(
        self,
        store: HistoryStore,
        activity: Activity,
        locks: SettingLocks,
        *,
        conversation: Conversation | None = None,
        system: str = "",
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        """Open a chat; nothing is stored yet.

        Args:
            store: Has the chats.
            activity: Refuses another chat or branch while a reply is written.
            locks: Settings that no chat may have of its own.
            conversation: The chat to open; None begins one at the first message.
            system: System message of new chats; `conversation` keeps its own.
            on_open: Called after another chat or branch was opened.
        """
        self._store = store
        self._activity = activity
        self._locks = locks
        self._system = system
        self._on_open = on_open
        self._committed = conversation or Conversation(0, system=system)
        self._live: Turn | None = None
        self._live_text: Callable[[], str] = str
        self.changing = asyncio.Lock()
        self.apply_locks()

    @property
    def id(self) -> int:
        """The chat's row in the store; 0 until its first message."""
        return self._committed.id

    @property
    def conversation(self) -> Conversation:
        """The chat as it is now, with the text so far of the reply being written."""
        if self._live is None or self._live.reply is None:
            return self._committed
        reply = replace(self._live.reply, text=self._live_text())
        return _with_turn(self._committed, _with_reply(self._live, reply))

    @property
    def committed(self) -> Conversation:
        """The chat without the reply being written."""
        return self._committed

    @property
    def live_reply(self) -> Reply | None:
        """The reply being written, as it was when it began."""
        return self._live.reply if self._live is not None else None

    # Opening

    def new(self) -> None:
        """Begin another chat with the general settings. The old one stays in the store.

        Raises:
            EngineError: A reply is running.
        """
        self._activity.refuse_while_busy()
        self._committed = Conversation(0, system=self._system)
        self._on_open()

    async def open(self, conversation_id: int, turn: int | None = None, reply: int | None = None) -> Conversation:
        """Go to another chat. An empty one is not stored.

        Args:
            conversation_id: The chat.
            turn: A turn whose branch is to be shown; None is the branch that was shown last.
            reply: A reply of that turn that is to be shown.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such chat.
        """
        async with self.changing:
            self._activity.refuse_while_busy()
            found = await asyncio.to_thread(self._store.conversation, conversation_id)
            if turn is None and reply is None:
                return self._show(found)
            if turn is not None and turn not in {shown.id for shown in found.turns}:
                await asyncio.to_thread(self._store.branches.show_turn, turn)
            if reply is not None:
                await asyncio.to_thread(self._store.branches.show_reply, reply)
            return await self.load(conversation_id)

    async def load(self, conversation_id: int) -> Conversation:
        """Show a chat as the store has it now; the caller holds `changing`."""
        return self._show(await asyncio.to_thread(self._store.conversation, conversation_id))

    def _show(self, conversation: Conversation) -> Conversation:
        self._committed = self._as_allowed(conversation)
        self._on_open()
        return self._committed

    async def settled(self) -> None:
        """Wait until no other chat or branch is being opened: a message must not go into the wrong one."""
        async with self.changing:
            pass

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
        async with self.changing:
            self._activity.refuse_while_busy()
            turns = self._committed.turns
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
            await self.load(self._committed.id)
            return True

    # Settings

    def use_system(self, system: str) -> None:
        """Begin chats with another system message from now on, including the open one if it has no message yet."""
        if not self._committed.id and self._committed.system == self._system:
            self._committed = replace(self._committed, system=system)
        self._system = system

    def apply_locks(self) -> None:
        """Let the open chat obey the locks as they are now."""
        self._committed = self._as_allowed(self._committed)

    def _as_allowed(self, conversation: Conversation) -> Conversation:
        """A chat without settings of its own that are locked; the store keeps what it has."""
        locked = self._locks.keys
        system = self._system if "system" in locked else conversation.system
        general = {key: None for key in asdict(conversation.settings) if key in locked}
        return replace(conversation, system=system, settings=replace(conversation.settings, **general))

    async def configure(self, system: str, settings: ChatSettings) -> None:
        """Give the chat a system message and settings of its own, for its next reply.

        Raises:
            ConfigError: One of them is locked by the device.
            EngineError: A reply is running.
        """
        async with self.changing:
            self._activity.refuse_while_busy()
            before = {"system": self._committed.system, **asdict(self._committed.settings)}
            after = {"system": system, **asdict(settings)}
            self._locks.refuse(*(key for key in before if before[key] != after[key]))
            if self._committed.id:
                await asyncio.to_thread(self._store.chats.configure, self._committed.id, system, settings)
            self._committed = replace(self._committed, system=system, settings=settings)

    def adopt_model(self, name: str) -> str:
        """Note which model continues the chat; returns the one before it where that is another, else ""."""
        before = self._committed.model
        if not name or not before or before == name:
            return ""
        self._committed = replace(self._committed, model=name)
        return before

    # Reading

    async def draft(self) -> Draft:
        """The message that was being written in this chat."""
        return await asyncio.to_thread(self._store.drafts.get, self._committed.id)

    async def export(self, form: Format) -> str:
        """The chat as text; empty where it has no message yet. Raises StorageError."""
        return await asyncio.to_thread(self._store.export, self._committed.id, form)

    def last_turn(self) -> Turn:
        """The last turn that is shown. Raises EngineError in a chat without one."""
        if not self._committed.turns:
            raise EngineError("The chat is empty", "There is no message to answer.", "Write one.")
        return self._committed.turns[-1]

    def position(self, turn_id: int) -> int:
        """The index of a turn on the branch that is shown. Raises StorageError where it is not on it."""
        for position, turn in enumerate(self._committed.turns):
            if turn.id == turn_id:
                return position
        raise StorageError("No such message", "It is not in the branch that is shown.", "Go to its branch first.")

    # Changing turns

    def update(self, chat_id: int, change: Callable[[Conversation], Conversation]) -> None:
        """Apply a change that the store has of a chat, if it is the open one."""
        if chat_id == self._committed.id:
            self._committed = change(self._committed)

    def _update_turns(self, change: Callable[[Turn], Turn]) -> None:
        self._committed = replace(self._committed, turns=tuple(map(change, self._committed.turns)))
        if self._live is not None:
            self._live = change(self._live)

    async def rate(self, reply_id: int, rating: Rating, note: str | None = None) -> None:
        """Store what the user thinks of a reply, also while another one is written.

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

        self._update_turns(lambda turn: replace(turn, replies=tuple(map(rated, turn.replies))))

    async def pin_turn(self, turn_id: int, pinned: bool) -> None:
        """Always send a turn, whatever has to leave the context; or no longer.

        Raises:
            StorageError: There is no such turn, or it cannot be written.
        """
        await asyncio.to_thread(self._store.branches.pin_turn, turn_id, pinned)
        self._update_turns(lambda turn: replace(turn, pinned=pinned) if turn.id == turn_id else turn)

    async def move_window(self, turn_id: int, window: Window) -> None:
        """Send the chat through another window from that turn on."""
        with suppress(StorageError):  # the window is found again when the chat is opened next
            await asyncio.to_thread(self._store.branches.store_window, turn_id, window)
        self._update_turns(lambda turn: replace(turn, window=window) if turn.id == turn_id else turn)

    async def add_turn(self, message: str, after: int, model: str) -> Turn:
        """Save a message behind the first `after` turns of the branch that is shown; what followed them is a sibling.

        Args:
            message: The user's words.
            after: How many turns stay before it.
            model: Name of the model; noted where the chat has its first message now.

        Raises:
            StorageError: It cannot be written.
        """
        if not self._committed.id:
            self._committed = await asyncio.to_thread(self._create, self._committed, model)
        chat, parent = self._committed.id, self._committed.turns[after - 1].id if after else None
        turn = await asyncio.to_thread(self._store.add_turn, chat, parent, message)
        committed = self._committed  # read again: it may have been rated, pinned or renamed meanwhile
        title = committed.title or title_of(message)
        self._committed = replace(committed, title=title, turns=(*committed.turns[:after], turn))
        return turn

    def _create(self, asked: Conversation, model: str) -> Conversation:
        """Begin a chat in the store."""
        conversation = self._store.create_conversation(system=asked.system, model=model)
        if asked.settings == ChatSettings():
            return conversation
        self._store.chats.configure(conversation.id, asked.system, asked.settings)
        return replace(conversation, settings=asked.settings)

    # The reply being written

    def begin_reply(self, turn_id: int, reply: Reply, text: Callable[[], str]) -> None:
        """Show a reply that the store has begun or resumed, until `end_reply` or `drop_reply`.

        Args:
            turn_id: The turn it answers.
            reply: The reply as the store has it; one of the turn's that is resumed, or a new sibling of them.
            text: Its text so far, whenever it is asked for.
        """
        turn = self._committed.turns[self.position(turn_id)]
        self._live_text = text
        if turn.reply is not None and turn.reply.id == reply.id:
            self._live = _with_reply(turn, reply)
            # The model is sent what the store has of it, which may be less where closing it failed before.
            self._committed = _with_turn(self._committed, self._live)
        else:
            self._live = replace(turn, replies=(*turn.replies, reply), active=len(turn.replies))

    def end_reply(self, reply: Reply) -> Turn:
        """Put the finished reply in the place of the one being written; returns its turn."""
        assert self._live is not None, "no reply is being written"
        turn = _with_reply(self._live, reply)
        self._committed = _with_turn(self._committed, turn)
        self._live = None
        return turn

    def drop_reply(self) -> None:
        """Show the chat without the reply that was being written, if there is one."""
        self._live = None


def _with_turn(conversation: Conversation, turn: Turn) -> Conversation:
    """A chat with that turn in the place of the one of its id."""
    return replace(conversation, turns=tuple(turn if old.id == turn.id else old for old in conversation.turns))


def _with_reply(turn: Turn, reply: Reply) -> Turn:
    """A turn with that reply in the place of the one that is shown."""
    return replace(turn, replies=(*turn.replies[: turn.active], reply, *turn.replies[turn.active + 1 :]))
