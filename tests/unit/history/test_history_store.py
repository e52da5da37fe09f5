from __future__ import annotations

import os
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechat.chat.conversation import Message, ReplyState
from edgechat.errors import StorageError
from edgechat.history import reply_owner
from edgechat.history.rows import TITLE_LENGTH
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.db"


def begun(store: HistoryStore) -> tuple[int, int]:
    """A chat with one turn and a streaming reply: the ids of chat and reply."""
    chat = store.create_conversation()
    turn = store.add_turn(chat.id, None, "question")
    return chat.id, store.add_reply(turn.id, "model").id


def wal_after_appends(store: HistoryStore, path: Path, reply: int) -> int:
    store._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for _ in range(100):
        store.append_text(reply, "a dozen or so tokens of text, as they come in a quarter second ")
    return path.with_name("history.db-wal").stat().st_size


def test_a_chat_comes_back_as_it_was_left(path: Path, store: HistoryStore) -> None:
    chat = store.create_conversation(system="Be brief.", model="phi")
    first = store.add_turn(chat.id, None, "One?")
    reply = store.add_reply(first.id, "phi")
    assert reply.state is ReplyState.STREAMING
    store.append_text(reply.id, "An")
    store.append_text(reply.id, "swer.")
    closed = store.close_reply(
        reply.id,
        ReplyState.COMPLETE,
        prompt_tokens=7,
        cached_tokens=3,
        completion_tokens=2,
        ttft=0.5,
        seconds=1.5,
    )
    second = store.add_turn(chat.id, first.id, "Two?")
    store.close()

    again = HistoryStore.open(path)
    found = again.conversation(chat.id)
    assert again.latest() == found
    again.close()
    assert (found.system, found.model, found.title, found.created) == ("Be brief.", "phi", "One?", chat.created)
    assert [turn.id for turn in found.turns] == [first.id, second.id]
    assert found.turns[1] == second
    assert found.turns[0].reply == closed
    assert (closed.text, closed.state, closed.ttft) == ("Answer.", ReplyState.COMPLETE, 0.5)
    assert (closed.prompt_tokens, closed.cached_tokens, closed.completion_tokens, closed.seconds) == (7, 3, 2, 1.5)
    assert found.messages() == (
        Message("system", "Be brief."),
        Message("user", "One?"),
        Message("assistant", "Answer."),
        Message("user", "Two?"),
    )


def test_a_streaming_reply_shows_its_journal(store: HistoryStore) -> None:
    chat, reply = begun(store)
    store.append_text(reply, "half an ")
    store.append_text(reply, "ans")
    shown = store.conversation(chat).turns[0].reply
    assert shown is not None
    assert (shown.text, shown.state) == ("half an ans", ReplyState.STREAMING)


def test_closing_with_a_text_replaces_the_journal(store: HistoryStore) -> None:
    chat, reply = begun(store)
    store.append_text(reply, "draft")
    store.close_reply(reply, ReplyState.STOPPED, text="final")
    assert store.conversation(chat).turns[0].replies[0].text == "final"


def test_closing_again_keeps_the_text_and_takes_the_new_state(store: HistoryStore) -> None:
    _, reply = begun(store)
    store.append_text(reply, "text")
    store.close_reply(reply, ReplyState.STOPPED)
    again = store.close_reply(reply, ReplyState.FAILED, error="It fell over.")
    assert (again.text, again.state, again.error) == ("text", ReplyState.FAILED, "It fell over.")


def test_a_reply_cannot_be_closed_as_streaming(store: HistoryStore) -> None:
    _, reply = begun(store)
    with pytest.raises(ValueError, match="streaming"):
        store.close_reply(reply, ReplyState.STREAMING)


def test_nothing_is_added_to_a_closed_reply(store: HistoryStore) -> None:
    chat, reply = begun(store)
    store.close_reply(reply, ReplyState.COMPLETE, text="whole")
    with pytest.raises(StorageError, match="closed"):
        store.append_text(reply, "late")
    assert store.conversation(chat).turns[0].replies[0].text == "whole"


def test_a_second_reply_becomes_the_active_one(store: HistoryStore) -> None:
    chat, first = begun(store)
    store.close_reply(first, ReplyState.COMPLETE, text="first")
    second = store.add_reply(store.conversation(chat).turns[0].id)
    turn = store.conversation(chat).turns[0]
    assert [reply.id for reply in turn.replies] == [first, second.id]
    assert turn.reply is not None
    assert turn.reply.id == second.id


def test_only_the_path_to_the_newest_turn_is_active(store: HistoryStore) -> None:
    chat = store.create_conversation()
    root = store.add_turn(chat.id, None, "root")
    store.add_turn(chat.id, root.id, "left")
    right = store.add_turn(chat.id, root.id, "right")
    assert store.conversation(chat.id).turns == (root, right)
    assert store.list_conversations()[0].turns == 3


def test_a_parent_must_be_of_the_same_chat(store: HistoryStore) -> None:
    other = store.add_turn(store.create_conversation().id, None, "there")
    here = store.create_conversation()
    with pytest.raises(StorageError, match="turn"):
        store.add_turn(here.id, other.id, "here")
    assert store.conversation(here.id).turns == ()


def test_what_is_not_there_is_said_to_be_missing(store: HistoryStore) -> None:
    for call in (
        lambda: store.conversation(9),
        lambda: store.conversation(10**30),
        lambda: store.add_turn(9, None, "x"),
        lambda: store.add_reply(9),
        lambda: store.append_text(9, "x"),
        lambda: store.close_reply(9, ReplyState.COMPLETE),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.title
        assert caught.value.message
        assert caught.value.hint
    assert store.latest() is None
    assert store.list_conversations() == []


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Hello", "Hello"),
        ("  two\n\tlines ", "two lines"),
        ("x" * 5000, "x" * (TITLE_LENGTH - 1) + "…"),
        (" \n ", ""),
        ("日本" * 40, "日本" * 29 + "日…"),
    ],
)
def test_the_first_message_becomes_the_title(store: HistoryStore, message: str, title: str) -> None:
    chat = store.create_conversation()
    first = store.add_turn(chat.id, None, message)
    assert first.user == message
    assert store.conversation(chat.id).title == title
    store.add_turn(chat.id, first.id, "second")
    assert store.conversation(chat.id).title == (title or "second")


def test_a_given_title_stays(store: HistoryStore) -> None:
    chat = store.create_conversation(title="Mine")
    store.add_turn(chat.id, None, "Hello")
    assert store.list_conversations()[0].title == "Mine"


def test_the_model_of_the_last_reply_is_the_model_of_the_chat(store: HistoryStore) -> None:
    chat = store.create_conversation(model="old")
    turn = store.add_turn(chat.id, None, "Hello")
    store.add_reply(turn.id, "new")
    store.add_reply(turn.id)
    assert store.conversation(chat.id).model == "new"


def test_lists_follow_the_changes_even_when_the_clock_goes_back(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000, 0, -1))
    monkeypatch.setattr("edgechat.history.store.time", SimpleNamespace(time=lambda: float(next(clock))))
    chats = [store.create_conversation().id for _ in range(3)]
    first = store.add_turn(chats[1], None, "first")
    second = store.add_turn(chats[1], first.id, "second")
    assert second.created < first.created
    assert [summary.id for summary in store.list_conversations()] == [chats[1], chats[2], chats[0]]
    assert [summary.id for summary in store.list_conversations(2)] == [chats[1], chats[2]]
    assert store.conversation(chats[1]).turns == (first, second)
    reply = store.add_reply(store.add_turn(chats[0], None, "x").id)
    store.add_turn(chats[2], None, "y")
    store.close_reply(reply.id, ReplyState.COMPLETE)
    latest = store.latest()
    assert latest is not None
    assert latest.id == chats[0]


@settings(deadline=None, max_examples=60)
@given(system=TEXT, user=TEXT, pieces=st.lists(TEXT, max_size=8), error=TEXT)
def test_any_text_comes_back_unchanged(
    long_lived: HistoryStore, system: str, user: str, pieces: list[str], error: str
) -> None:
    chat = long_lived.create_conversation(system=system)
    turn = long_lived.add_turn(chat.id, None, user)
    reply = long_lived.add_reply(turn.id)
    for piece in pieces:
        long_lived.append_text(reply.id, piece)
    streaming = long_lived.conversation(chat.id).turns[0].replies[0]
    closed = long_lived.close_reply(reply.id, ReplyState.FAILED, error=error)
    found = long_lived.conversation(chat.id)
    assert (found.system, found.turns[0].user) == (system, user)
    assert found.turns[0].reply == closed
    assert streaming.text == closed.text == "".join(pieces)
    assert closed.error == error


@pytest.mark.parametrize("half", ["\ud800", "a\udfffb"])
def test_half_a_surrogate_pair_is_refused_and_leaves_nothing(store: HistoryStore, half: str) -> None:
    chat, reply = begun(store)
    before = store.conversation(chat)
    for call in (
        lambda: store.create_conversation(system=half),
        lambda: store.add_turn(chat, before.turns[0].id, half),
        lambda: store.add_reply(before.turns[0].id, half),
        lambda: store.append_text(reply, half),
        lambda: store.close_reply(reply, ReplyState.COMPLETE, text=half),
        lambda: store.close_reply(reply, ReplyState.FAILED, error=half),
    ):
        with pytest.raises(StorageError, match="Cannot be stored"):
            call()
    assert store.conversation(chat) == before
    assert len(store.list_conversations()) == 1


def test_a_long_reply_costs_no_more_per_piece_than_a_short_one(path: Path, store: HistoryStore) -> None:
    chat, reply = begun(store)
    at_first = wal_after_appends(store, path, reply)
    for _ in range(5000):
        store.append_text(reply, "a dozen or so tokens of text, as they come in a quarter second ")
    assert wal_after_appends(store, path, reply) <= at_first * 1.5
    assert len(store.close_reply(reply, ReplyState.COMPLETE).text) == 5200 * 63
    assert len(store.conversation(chat).turns[0].replies[0].text) == 5200 * 63


def test_the_users_turn_and_the_closed_reply_are_flushed(store: HistoryStore) -> None:
    def synchronous() -> int:
        return int(store._database._connection.execute("PRAGMA synchronous").fetchone()[0])

    chat, reply = begun(store)
    store.append_text(reply, "x")
    assert synchronous() == 1
    store.close_reply(reply, ReplyState.COMPLETE)
    assert synchronous() == 2
    store.append_text(store.add_reply(store.add_turn(chat, None, "x").id).id, "x")
    store.add_turn(chat, None, "y")
    assert synchronous() == 2


def test_closing_the_store_interrupts_what_it_was_writing(path: Path) -> None:
    store = HistoryStore.open(path)
    chat, reply = begun(store)
    store.append_text(reply, "so f")
    store.close()
    store.close()
    again = HistoryStore.open(path)
    found = again.conversation(chat).turns[0].reply
    again.close()
    assert found is not None
    assert (found.text, found.state) == ("so f", ReplyState.INTERRUPTED)


def test_a_closed_store_says_so(path: Path) -> None:
    store = HistoryStore.open(path)
    store.close()
    with pytest.raises(StorageError):
        store.list_conversations()


def test_a_writer_taken_for_dead_loses_nothing(
    path: Path, store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, reply = begun(store)
    store.append_text(reply, "one ")
    other = HistoryStore.open(path)
    with monkeypatch.context() as wrong:
        wrong.setattr(reply_owner, "is_alive", lambda _: False)
        assert other.conversation(chat).turns[0].replies[0].state is ReplyState.INTERRUPTED
    store.append_text(reply, "two")
    assert other.conversation(chat).turns[0].replies[0].text == "one two"
    closed = store.close_reply(reply, ReplyState.COMPLETE)
    assert other.conversation(chat).turns[0].reply == closed
    other.close()
    assert (closed.text, closed.state) == ("one two", ReplyState.COMPLETE)


def test_who_lives() -> None:
    me = reply_owner.this_process()
    pid, started, boot = me.split(":", 2)
    assert reply_owner.is_alive(me)
    assert not reply_owner.is_alive(None)
    assert not reply_owner.is_alive("nonsense")
    assert not reply_owner.is_alive("one:two:three")
    assert not reply_owner.is_alive(f"{pid}:{float(started) - 60}:{boot}")
    assert not reply_owner.is_alive(f"{pid}:{started}:another boot")
    assert not reply_owner.is_alive(f"-1:{started}:{boot}")


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps rights elsewhere")
def test_only_the_owner_can_read(path: Path, store: HistoryStore) -> None:
    begun(store)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for name in ("history.db", "history.db-wal", "history.db-shm"):
        assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600, name


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps rights elsewhere")
def test_rights_that_others_had_are_taken(path: Path, store: HistoryStore) -> None:
    begun(store)
    names = [path, path.with_name("history.db-wal"), path.with_name("history.db-shm")]
    for name in names:
        name.chmod(0o644)
    HistoryStore.open(path).close()
    assert {stat.S_IMODE(name.stat().st_mode) for name in names} == {0o600}


def test_a_forgetful_history_works_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = HistoryStore.in_memory()
    chat = store.create_conversation(system="Be brief.")
    turn = store.add_turn(chat.id, None, "Hi")
    reply = store.add_reply(turn.id, "m")
    store.append_text(reply.id, "Hello")
    store.close_reply(reply.id, ReplyState.COMPLETE, text="Hello")
    latest = store.latest()
    assert latest is not None
    assert [t.user for t in latest.turns] == ["Hi"]
    store.close()
    assert HistoryStore.in_memory().latest() is None
    assert list(tmp_path.iterdir()) == []
