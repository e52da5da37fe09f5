"""Finding words in every chat: scripts, ranking, snippets, and an index that never lags behind."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.conversation import ReplyState
from edgechat.history.search import SNIPPET, excerpt
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    pass

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def asked(store: HistoryStore, *messages: str) -> list[int]:
    """A chat of those messages; their turns."""
    chat = store.create_conversation().id
    turns: list[int] = []
    for message in messages:
        turns.append(store.add_turn(chat, turns[-1] if turns else None, message).id)
    return turns


def found(store: HistoryStore, words: str) -> list[int]:
    return sorted(hit.turn for hit in store.search.find(words) if hit.turn is not None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The lighthouse keeper", "LIGHT keeper"),
        ("Crème brûlée for Zoë", "creme BRULEE"),
        ("creme brulee", "crème"),
        ("Straße nach Köln", "strasse koln"),
        ("我想學習日本語和中文", "日本"),
        ("我想學習日本語和中文", "中"),
        ("これはテストです", "テスト"),
        ("ไปโรงเรียนกันเถอะ", "โรงเรียน"),
        ("학교에서 공부했다", "학교"),
        ("שלום עולם", "עולם"),
        ("הילד הלך לבית הספר", "בית"),
        ("שָׁלוֹם", "שלום"),
        ("הבית והגן", "גן הבית"),
        ("צה״ל", "צה״ל"),
        ("كِتَابٌ جديد", "كتاب"),
        ("नमस्ते दुनिया", "नमस्ते"),
        ("launch 🚀 now", "🚀"),
        ("call foo_bar(x) in C++", "foo_bar c++"),
        ("e-mail me@example.org", "me@example.org"),
        ("ﬁne ＡＢＣ", "fine abc"),
    ],
)
def test_words_of_many_scripts_are_found(store: HistoryStore, text: str, words: str) -> None:
    [turn] = asked(store, text)
    asked(store, "something else altogether")
    assert found(store, words) == [turn]


@pytest.mark.parametrize(
    "words",
    ['"', "AND", "a OR", "NOT x", "NEAR(a b)", "body:x", "x*", "^x", "(", "a-b", "{a b}: c", "'; DROP", "*", ""],
)
def test_no_words_are_syntax(store: HistoryStore, words: str) -> None:
    asked(store, "nothing of the kind")
    assert found(store, words) == []


@given(text=TEXT, words=TEXT)
def test_any_words_can_be_asked_for_and_any_text_shown(long_lived: HistoryStore, text: str, words: str) -> None:
    [turn] = asked(long_lived, text)
    for hit in long_lived.search.find(words):
        assert len(hit.snippet) <= SNIPPET + 2
    letters = "".join(character for character in text if character.isalpha() and character.isascii())
    if letters and letters == text:
        assert turn in [hit.turn for hit in long_lived.search.find(text, limit=10_000)]


def test_replies_are_found_in_every_branch_once_they_are_written(store: HistoryStore) -> None:
    [turn] = asked(store, "question")
    replies = [store.add_reply(turn).id for _ in range(2)]
    store.append_text(replies[0], "a wombat")
    assert found(store, "wombat") == []
    for reply in replies:
        store.close_reply(reply, ReplyState.COMPLETE, text="a wombat")
    assert sorted(hit.reply or 0 for hit in store.search.find("wombat")) == replies
    store.close_reply(replies[0], ReplyState.COMPLETE, text="a quokka")
    assert [hit.reply for hit in store.search.find("wombat")] == [replies[1]]
    assert [hit.reply for hit in store.search.find("quokka")] == [replies[0]]
    store.resume_reply(replies[0])
    store.append_text(replies[0], " and a numbat")
    store.close_reply(replies[0], ReplyState.COMPLETE)
    assert [hit.reply for hit in store.search.find("numbat quokka")] == [replies[0]]


def test_what_is_deleted_is_not_found_and_what_is_archived_is(store: HistoryStore) -> None:
    first, second = asked(store, "apple one", "apple two")
    chat = store.search.find("apple")[0].conversation
    store.branches.delete_turn(second)
    assert found(store, "apple") == [first]
    store.branches.undelete_turn(second)
    store.chats.archive(chat, True)
    assert found(store, "apple") == [first, second]
    assert all(hit.archived for hit in store.search.find("apple"))
    store.chats.delete(chat)
    assert found(store, "apple") == []


def test_the_best_match_comes_first_and_the_limit_holds(store: HistoryStore) -> None:
    long = asked(store, "zebra " + "and much else besides " * 40)[0]
    short = asked(store, "zebra zebra")[0]
    for number in range(30):
        asked(store, f"noise {number}")
    assert [hit.turn for hit in store.search.find("zebra")] == [short, long]
    assert len(store.search.find("noise", limit=7)) == 7


def chats_found(store: HistoryStore, words: str, limit: int = 20) -> list[tuple[int, int | None]]:
    return [(hit.conversation, hit.turn) for hit in store.search.find(words, limit)]


def test_a_name_that_was_given_is_found_first(store: HistoryStore) -> None:
    said = asked(store, "the boiler, the boiler")[0]
    asked(store, "What does the red lamp mean?")
    store.chats.rename(2, "Café boiler manual")
    assert chats_found(store, "boil") == [(2, None), (1, said)]
    title = store.search.find("cafe")[0]
    assert (title.title, title.snippet, title.reply) == ("Café boiler manual", "Café boiler manual", None)
    assert [title.snippet[begin:end] for begin, end in title.matches] == ["Café"]
    store.chats.rename(2, "Oven")
    assert chats_found(store, "boil") == [(1, said)]
    store.chats.delete(2)
    assert chats_found(store, "oven") == []


def test_a_title_that_is_the_first_message_is_not_found_twice(store: HistoryStore) -> None:
    short, long = "a short one", "a long one " * 20
    for message in (short, long):
        asked(store, message)
    assert dict(chats_found(store, "one")) == {1: 1, 2: 2}
    assert len(chats_found(store, "one")) == 2
    copy = store.chats.duplicate(1)
    assert (copy, None) in chats_found(store, "copy")


def test_titles_leave_room_for_what_was_said(store: HistoryStore) -> None:
    for number in range(9):
        asked(store, f"number {number}")
        store.chats.rename(number + 1, f"lamp {number}")
    said = asked(store, "lamp", "lamp again", "and a lamp")
    hits = chats_found(store, "lamp", limit=6)
    assert [turn is None for _, turn in hits] == [True] * 3 + [False] * 3
    hits = chats_found(store, "lamp", limit=11)
    assert sorted(turn for _, turn in hits if turn) == said
    assert len(hits) == 11


def test_purged_titles_are_gone_from_the_index(store: HistoryStore) -> None:
    asked(store, "a message")
    store.chats.rename(1, "a name")
    store.chats.delete(1)
    store.chats.purge()
    with store._database.reading() as db:
        assert db.execute("SELECT COUNT(*) FROM titles WHERE titles MATCH 'name'").fetchone() == (0,)


def test_all_words_must_be_there(store: HistoryStore) -> None:
    both = asked(store, "red and green")[0]
    asked(store, "red and blue")
    assert found(store, "green red") == [both]


def test_the_snippet_shows_the_first_match(store: HistoryStore) -> None:
    asked(store, "x " * 500 + "the Crème\nbrûlée was fine " + "y " * 500)
    [hit] = store.search.find("creme brulee")
    assert [hit.snippet[begin:end] for begin, end in hit.matches] == ["Crème", "brûlée"]
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert "\n" not in hit.snippet
    assert excerpt("no match in here", "zzz") == ("no match in here", ())


def test_a_message_of_two_megabytes_is_kept_and_found(store: HistoryStore) -> None:
    text = "word " * 400_000 + "needle"
    [turn] = asked(store, text)
    [hit] = store.search.find("needle")
    assert (hit.turn, hit.snippet[-6:]) == (turn, "needle")
    assert store.conversation(hit.conversation).turns[0].user == text


def test_the_index_agrees_with_the_texts(store: HistoryStore) -> None:
    asked(store, "one", "two")
    chat = store.search.find("one")[0].conversation
    copy = store.chats.duplicate(chat)
    assert {hit.conversation for hit in store.search.find("two")} == {chat, copy}
    store.chats.delete(chat)
    store.chats.purge()
    assert {hit.conversation for hit in store.search.find("two")} == {copy}
    connection: sqlite3.Connection = store._database._connection
    connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
