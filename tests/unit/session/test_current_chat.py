"""The chat that is open, without an engine: what it shows of a reply that others write, and what the device locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgechat.chat.conversation import ChatSettings, ReplyState
from edgechat.errors import EngineError, StorageError
from edgechat.history.store import HistoryStore
from edgechat.session.activity import Activity
from edgechat.session.chat_library import ChatLibrary
from edgechat.session.current_chat import CurrentChat
from edgechat.session.setting_locks import SettingLocks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    with closing(HistoryStore.open(tmp_path / "h.db")) as opened:
        yield opened


def chat_of(store: HistoryStore, opened: list[str] | None = None, locks: SettingLocks | None = None) -> CurrentChat:
    def on_open() -> None:
        if opened is not None:
            opened.append("opened")

    return CurrentChat(store, Activity(), locks or SettingLocks(), system="Be brief.", on_open=on_open)


async def test_it_has_no_row_before_its_first_message(store: HistoryStore) -> None:
    chat = chat_of(store)
    assert chat.id == 0
    with pytest.raises(EngineError, match="empty"):
        chat.last_turn()
    turn = await chat.add_turn("Hello", 0, "scripted")
    assert chat.last_turn() == turn
    assert store.conversation(chat.id).model == "scripted"
    with pytest.raises(StorageError, match="No such message"):
        chat.position(turn.id + 1)


async def test_a_reply_shows_its_text_until_it_ends(store: HistoryStore) -> None:
    chat, words = chat_of(store), ["One "]
    turn = await chat.add_turn("Hello", 0, "")
    chat.begin_reply(turn.id, store.add_reply(turn.id), lambda: "".join(words))
    words.append("two.")
    shown = chat.conversation.turns[0].reply
    assert shown is not None
    assert shown.text == "One two."
    assert chat.committed.turns[0].reply is None
    ended = chat.end_reply(store.close_reply(shown.id, ReplyState.COMPLETE, text="One two."))
    assert chat.conversation == chat.committed
    assert chat.conversation.turns == (ended,)
    assert chat.live_reply is None


async def test_a_reply_that_is_dropped_was_never_there(store: HistoryStore) -> None:
    chat = chat_of(store)
    turn = await chat.add_turn("Hello", 0, "")
    chat.begin_reply(turn.id, store.add_reply(turn.id), str)
    chat.drop_reply()
    assert chat.conversation.turns[0].replies == ()


async def test_whoever_wants_to_know_is_told_of_each_chat_that_is_opened(store: HistoryStore) -> None:
    opened: list[str] = []
    chat = chat_of(store, opened)
    library = ChatLibrary(store, chat, Activity())
    await chat.add_turn("one", 0, "")
    await chat.add_turn("two", 1, "")
    assert opened == []
    for change in (library.delete_turn(), library.delete_chat(), library.undelete(), chat.open(chat.id or 1)):
        before = len(opened)
        await change
        assert len(opened) == before + 1


async def test_locks_take_its_own_settings_and_leave_the_store_alone(store: HistoryStore) -> None:
    locks = SettingLocks()
    chat = chat_of(store, locks=locks)
    await chat.configure("Be rude.", ChatSettings(temperature=1.5, seed=7))
    await chat.add_turn("Hello", 0, "")
    locks.keys = frozenset({"system", "temperature"})
    chat.apply_locks()
    assert (chat.conversation.system, chat.conversation.settings) == ("Be brief.", ChatSettings(seed=7))
    assert store.conversation(chat.id).settings == ChatSettings(temperature=1.5, seed=7)
