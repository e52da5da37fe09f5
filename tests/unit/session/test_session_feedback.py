"""What the user thinks of replies and turns: thumbs, notes and pins, on the session and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from edgechat.chat.conversation import Conversation, Reply
from edgechat.engine.protocol import TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import StorageError
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
async def session(path: Path) -> AsyncIterator[Session]:
    """A chat of one turn with two replies, the second of them shown."""
    made = Session(ScriptedEngine(lambda _: "word " * 20), HistoryStore.open(path))
    await made.start()
    [_ async for _ in made.send("first")]
    [_ async for _ in made.regenerate()]
    yield made
    await made.aclose()


def kept(path: Path) -> Conversation:
    with closing(HistoryStore.open(path)) as store:
        (chat,) = store.list_conversations()
        return store.conversation(chat.id)


def feedback(replies: tuple[Reply, ...]) -> list[tuple[int, str]]:
    return [(reply.rating, reply.note) for reply in replies]


async def test_thumbs_and_a_note_are_kept_with_the_reply(session: Session, path: Path) -> None:
    first, second = session.conversation.turns[0].replies
    await session.chat.rate(first.id, 1, " Kurz und gut. ")
    await session.chat.rate(second.id, -1)
    assert feedback(session.conversation.turns[0].replies) == [(1, "Kurz und gut."), (-1, "")]
    assert kept(path).turns == session.conversation.turns


async def test_taking_thumbs_back_leaves_the_words(session: Session, path: Path) -> None:
    first, _ = session.conversation.turns[0].replies
    await session.chat.rate(first.id, 1, "Good.")
    await session.chat.rate(first.id, 0)
    assert feedback(kept(path).turns[0].replies) == [(0, "Good."), (0, "")]
    await session.chat.rate(first.id, 0, "")
    assert feedback(kept(path).turns[0].replies) == [(0, ""), (0, "")]
    assert kept(path).turns == session.conversation.turns


async def test_a_note_that_cannot_be_stored_is_mended(session: Session, path: Path) -> None:
    await session.chat.rate(session.conversation.turns[0].replies[0].id, 0, "half \ud83d")
    assert feedback(kept(path).turns[0].replies)[0] == (0, "half \ufffd")
    assert kept(path).turns == session.conversation.turns


async def test_a_reply_that_is_not_there_is_told(session: Session) -> None:
    with pytest.raises(StorageError):
        await session.chat.rate(999, 1)


async def test_rated_and_pinned_while_another_reply_is_written(session: Session, path: Path) -> None:
    turn = session.conversation.turns[0]
    async for event in session.regenerate():
        if isinstance(event, TextDelta) and not session.conversation.turns[0].replies[0].rating:
            await session.chat.rate(turn.replies[0].id, 1, "The best.")
            await session.chat.rate(session.conversation.turns[0].replies[2].id, -1)
            await session.chat.pin_turn(turn.id, True)
    assert feedback(session.conversation.turns[0].replies) == [(1, "The best."), (0, ""), (-1, "")]
    assert session.conversation.turns[0].pinned
    assert kept(path).turns == session.conversation.turns


async def test_pinned_while_the_next_message_is_saved(session: Session, path: Path) -> None:
    turn = session.conversation.turns[0]
    events = session.send("second")
    saved = asyncio.ensure_future(anext(events))
    await session.chat.pin_turn(turn.id, True)
    await saved
    [_ async for _ in events]
    assert [shown.pinned for shown in session.conversation.turns] == [True, False]
    assert kept(path).turns == session.conversation.turns


async def test_chats_are_pinned_and_archived_by_their_id(session: Session, path: Path) -> None:
    await session.library.pin(session.conversation.id, True)
    assert kept(path).pinned
    assert session.conversation.pinned
    await session.library.archive(session.conversation.id, True)
    assert session.conversation.archived
    await session.library.archive(session.conversation.id, False)
    await session.library.pin(session.conversation.id, False)
    assert not kept(path).pinned
    assert not session.conversation.pinned


def test_a_copy_keeps_the_feedback_and_the_pins(tmp_path: Path) -> None:
    with closing(HistoryStore.open(tmp_path / "history.db")) as store:
        chat = store.create_conversation()
        turn = store.add_turn(chat.id, None, "first")
        store.feedback.rate(store.add_reply(turn.id).id, 1, "Good.")
        store.branches.pin_turn(turn.id, True)
        copy = store.conversation(store.chats.duplicate(chat.id))
        assert feedback(copy.turns[0].replies) == [(1, "Good.")]
        assert copy.turns[0].pinned
