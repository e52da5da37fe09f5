"""The chats of a history: listing and searching them, naming, sorting and deleting them.

What is changed of the chat that is open shows in `CurrentChat` as well. Nothing here needs an engine.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from edgechat.chat.sanitize import storable
from edgechat.history.drafts import Draft
from edgechat.history.search import SearchHit
from edgechat.history.store import ConversationSummary, HistoryStore
from edgechat.session.activity import Activity
from edgechat.session.current_chat import CurrentChat


class ChatLibrary:
    """All chats of one history, and the undo of what was deleted in this session.

    State: the deleted chats and turns, newest last, for `undelete`.
    """

    def __init__(self, store: HistoryStore, current: CurrentChat, activity: Activity) -> None:
        self._store = store
        self._current = current
        self._activity = activity
        self._deleted: list[tuple[int, int | None]] = []

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

    async def rename(self, title: str, chat_id: int | None = None) -> None:
        """Give a chat another title; nothing happens to one without a message.

        Args:
            title: The title; white space counts as a space.
            chat_id: The chat; None for the one that is open.

        Raises:
            StorageError: There is no such chat, or it cannot be written.
        """
        words = storable(" ".join(title.split()))[0]
        if (chat := chat_id or self._current.id) and words:
            await asyncio.to_thread(self._store.chats.rename, chat, words)
            self._current.update(chat, lambda current: replace(current, title=words))

    async def pin(self, chat_id: int, pinned: bool) -> None:
        """Let lists show a chat before the others, or no longer. Raises StorageError."""
        await asyncio.to_thread(self._store.chats.pin, chat_id, pinned)
        self._current.update(chat_id, lambda current: replace(current, pinned=pinned))

    async def archive(self, chat_id: int, archived: bool) -> None:
        """Let lists leave out a chat, or no longer; search still finds it. Raises StorageError."""
        await asyncio.to_thread(self._store.chats.archive, chat_id, archived)
        self._current.update(chat_id, lambda current: replace(current, archived=archived))

    async def delete_chat(self, chat_id: int | None = None) -> bool:
        """Delete a chat, for `undelete` to restore. Returns whether there was one.

        Args:
            chat_id: The chat; None for the one that is open. A new chat takes the place of the open one.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such chat, or it cannot be written.
        """
        async with self._current.changing:
            self._activity.refuse_while_busy()
            if not (chat := chat_id or self._current.id):
                return False
            await asyncio.to_thread(self._store.chats.delete, chat)
            self._deleted.append((chat, None))
            if chat == self._current.id:
                self._current.new()
            return True

    async def delete_turn(self, turn_id: int | None = None) -> bool:
        """Delete a message of the open chat, its replies and what follows it, for `undelete` to restore.

        Args:
            turn_id: The turn; None for the last one.

        Returns:
            Whether there was one.

        Raises:
            EngineError: A reply is running.
            StorageError: There is no such turn, or it cannot be written.
        """
        async with self._current.changing:
            self._activity.refuse_while_busy()
            if not self._current.committed.turns:
                return False
            turn, chat = turn_id or self._current.last_turn().id, self._current.id
            await asyncio.to_thread(self._store.branches.delete_turn, turn)
            self._deleted.append((chat, turn))
            await self._current.load(chat)
            return True

    async def undelete(self) -> bool:
        """Undo the last delete, and open its chat. Returns whether there was one.

        Raises:
            EngineError: A reply is running.
            StorageError: It cannot be written.
        """
        async with self._current.changing:
            self._activity.refuse_while_busy()
            if not self._deleted:
                return False
            chat, turn = self._deleted.pop()
            if turn is None:
                await asyncio.to_thread(self._store.chats.undelete, chat)
            else:
                await asyncio.to_thread(self._store.branches.undelete_turn, turn)
            await self._current.load(chat)
            return True

    async def save_draft(self, conversation_id: int, draft: Draft) -> None:
        """Store the message being written in a chat; 0 is the chat that has no message yet. Raises StorageError."""
        await asyncio.to_thread(self._store.drafts.save, conversation_id, draft)

    async def sent_messages(self) -> list[str]:
        """The messages sent last in all chats, the newest at the end."""
        return await asyncio.to_thread(self._store.drafts.sent)

    async def housekeep(self) -> None:
        """Make today's backup and purge what was deleted long ago. Raises StorageError."""
        await asyncio.to_thread(self._store.housekeep)
