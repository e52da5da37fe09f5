"""Branches and the shelf: siblings, what is shown, deleting with undo, and copies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgechat.chat.conversation import ChatSettings, ReplyState
from edgechat.errors import StorageError
from edgechat.history.clock import DAY
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    from pathlib import Path


def said(store: HistoryStore, chat: int, parent: int | None, user: str, *answers: str) -> int:
    """A turn with those answers; the last one is shown."""
    turn = store.add_turn(chat, parent, user).id
    for answer in answers or (f"to {user}",):
        store.close_reply(store.add_reply(turn, "m").id, ReplyState.COMPLETE, text=answer)
    return turn


def shown(store: HistoryStore, chat: int) -> list[str]:
    return [turn.user for turn in store.conversation(chat).turns]


@pytest.fixture
def tree(store: HistoryStore) -> dict[str, int]:
    """a, then b with c below it, then b2 as a sibling of b; b2 is shown."""
    chat = store.create_conversation().id
    a = said(store, chat, None, "a")
    b = said(store, chat, a, "b")
    c = said(store, chat, b, "c")
    return {"chat": chat, "a": a, "b": b, "c": c, "b2": said(store, chat, a, "b2")}


def test_siblings_are_told_and_stepped_to(store: HistoryStore, tree: dict[str, int]) -> None:
    assert shown(store, tree["chat"]) == ["a", "b2"]
    assert store.conversation(tree["chat"]).turns[1].siblings == (tree["b"], tree["b2"])
    store.branches.show_turn(tree["b"])
    assert shown(store, tree["chat"]) == ["a", "b", "c"]
    assert store.conversation(tree["chat"]).turns[1].siblings == (tree["b"], tree["b2"])
    assert store.conversation(tree["chat"]).turns[2].siblings == (tree["c"],)


def test_first_turns_can_be_siblings(store: HistoryStore, tree: dict[str, int]) -> None:
    other = said(store, tree["chat"], None, "a2")
    assert store.conversation(tree["chat"]).turns[0].siblings == (tree["a"], other)
    assert shown(store, tree["chat"]) == ["a2"]


def test_another_reply_is_shown(store: HistoryStore, tree: dict[str, int]) -> None:
    turn = said(store, tree["chat"], tree["b2"], "d", "one", "two")
    first = store.conversation(tree["chat"]).turns[-1].replies[0]
    store.branches.show_reply(first.id)
    found = store.conversation(tree["chat"]).turns[-1]
    assert (found.id, found.reply) == (turn, first)


def test_a_deleted_turn_takes_what_followed_and_comes_back_with_it(store: HistoryStore, tree: dict[str, int]) -> None:
    store.branches.show_turn(tree["b"])
    store.branches.delete_turn(tree["b"])
    assert shown(store, tree["chat"]) == ["a", "b2"]
    assert store.conversation(tree["chat"]).turns[1].siblings == (tree["b2"],)
    store.branches.undelete_turn(tree["b"])
    assert shown(store, tree["chat"]) == ["a", "b", "c"]


def test_deleting_the_only_branch_leaves_the_turn_before_it(store: HistoryStore, tree: dict[str, int]) -> None:
    store.branches.show_turn(tree["b"])
    store.branches.delete_turn(tree["c"])
    assert shown(store, tree["chat"]) == ["a", "b"]
    store.branches.delete_turn(tree["a"])
    assert shown(store, tree["chat"]) == []
    # What was deleted before stays deleted.
    store.branches.undelete_turn(tree["a"])
    assert shown(store, tree["chat"]) == ["a", "b2"]
    store.branches.show_turn(tree["b"])
    assert shown(store, tree["chat"]) == ["a", "b"]


def test_a_turn_below_a_deleted_one_waits_for_it(store: HistoryStore, tree: dict[str, int]) -> None:
    store.branches.delete_turn(tree["c"])
    store.branches.delete_turn(tree["b"])
    with pytest.raises(StorageError, match="turn"):
        store.branches.undelete_turn(tree["c"])


def test_nothing_is_added_below_a_deleted_turn(store: HistoryStore, tree: dict[str, int]) -> None:
    store.branches.delete_turn(tree["b"])
    with pytest.raises(StorageError, match="turn"):
        store.add_turn(tree["chat"], tree["b"], "late")


def test_a_reply_goes_on_and_stays_one(path: Path, store: HistoryStore) -> None:
    chat = store.create_conversation()
    reply = store.add_reply(store.add_turn(chat.id, None, "x").id)
    store.append_text(reply.id, "half ")
    store.close_reply(reply.id, ReplyState.STOPPED)
    again = store.resume_reply(reply.id)
    assert (again.id, again.text, again.state) == (reply.id, "half ", ReplyState.STREAMING)
    store.append_text(reply.id, "and half")
    store.close()
    other = HistoryStore.open(path)
    [found] = other.conversation(chat.id).turns[0].replies
    other.close()
    assert (found.text, found.state) == ("half and half", ReplyState.INTERRUPTED)


def test_a_reply_that_another_window_writes_is_not_gone_on_with(path: Path, store: HistoryStore) -> None:
    reply = store.add_reply(store.add_turn(store.create_conversation().id, None, "x").id)
    other = HistoryStore.open(path)
    with pytest.raises(StorageError, match="being written"):
        other.resume_reply(reply.id)
    other.close()


def test_the_shelf(store: HistoryStore) -> None:
    old, middle, new = (store.create_conversation(title=title).id for title in ("old", "middle", "new"))
    store.chats.rename(old, "older")
    store.chats.pin(old, True)
    store.chats.archive(new, True)
    assert [(chat.title, chat.pinned) for chat in store.list_conversations()] == [("older", True), ("middle", False)]
    assert [chat.id for chat in store.list_conversations(archived=True)] == [new]
    latest = store.latest()
    assert latest is not None
    assert latest.id == middle
    store.chats.archive(new, False)
    store.chats.pin(old, False)
    assert [chat.id for chat in store.list_conversations()] == [new, middle, old]


def test_a_chat_has_settings_of_its_own(store: HistoryStore) -> None:
    chat = store.create_conversation().id
    settings = ChatSettings(temperature=0.0, top_p=0.5, repetition_penalty=1.5, seed=7, max_tokens=9)
    store.chats.configure(chat, "Be brief.", settings)
    found = store.conversation(chat)
    assert (found.system, found.settings) == ("Be brief.", settings)


def test_a_deleted_chat_is_gone_and_comes_back(store: HistoryStore, tree: dict[str, int]) -> None:
    chat = tree["chat"]
    before = store.conversation(chat)
    store.chats.delete(chat)
    assert store.list_conversations() == []
    assert store.latest() is None
    for call in (
        lambda: store.conversation(chat),
        lambda: store.add_turn(chat, None, "late"),
        lambda: store.chats.delete(chat),
        lambda: store.chats.rename(chat, "x"),
        lambda: store.chats.duplicate(chat),
    ):
        with pytest.raises(StorageError, match="No such chat"):
            call()
    store.chats.undelete(chat)
    assert store.conversation(chat) == before
    with pytest.raises(StorageError, match="No such chat"):
        store.chats.undelete(99)


def test_a_copy_has_all_branches_and_none_of_what_is_deleted(store: HistoryStore, tree: dict[str, int]) -> None:
    said(store, tree["chat"], tree["b2"], "d", "one", "two")
    store.branches.show_reply(store.conversation(tree["chat"]).turns[-1].replies[0].id)
    store.branches.delete_turn(tree["c"])
    copy = store.conversation(store.chats.duplicate(tree["chat"]))
    original = store.conversation(tree["chat"])
    assert copy.title == f"{original.title} (copy)"
    assert copy.messages() == original.messages()
    assert not {turn.id for turn in copy.turns} & {turn.id for turn in original.turns}
    assert [reply.text for reply in copy.turns[-1].replies] == ["one", "two"]
    beside = copy.turns[1].siblings[0]
    store.branches.show_turn(beside)
    assert shown(store, copy.id) == ["a", "b"]
    assert store.conversation(tree["chat"]) == original


def test_a_copy_of_a_streaming_reply_is_what_has_come(store: HistoryStore) -> None:
    chat = store.create_conversation()
    reply = store.add_reply(store.add_turn(chat.id, None, "x").id)
    store.append_text(reply.id, "so far")
    copy = store.conversation(store.chats.duplicate(chat.id)).turns[0].reply
    assert copy is not None
    assert (copy.text, copy.state) == ("so far", ReplyState.INTERRUPTED)
    store.append_text(reply.id, ", so good")
    assert store.close_reply(reply.id, ReplyState.COMPLETE).text == "so far, so good"


def test_only_what_was_deleted_long_ago_is_purged(
    store: HistoryStore, tree: dict[str, int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr("edgechat.history.clock.time.time", lambda: now[0])
    gone = store.create_conversation().id
    said(store, gone, None, "a secret")
    store.branches.delete_turn(tree["c"])
    now[0] += 5 * DAY
    store.branches.delete_turn(tree["b"])
    now[0] += 5 * DAY
    store.chats.delete(gone)
    assert store.chats.purge(11) == (0, 0)
    assert store.chats.purge(4.9) == (0, 2)
    assert store.chats.purge(4.9) == (0, 0)
    assert store.chats.purge() == (1, 0)
    assert shown(store, tree["chat"]) == ["a", "b2"]
    with pytest.raises(StorageError):
        store.chats.undelete(gone)
    store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT COUNT(*) FROM turn").fetchone() == (2,)
        assert db.execute("SELECT COUNT(*) FROM words WHERE words MATCH 'secret'").fetchone() == (0,)
