"""What is sent when not all of it fits; a token is a word here, and each message has two more."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.conversation import Conversation, Message, Reply, ReplyState, Turn
from edgechat.chat.window import ContextFullError, Window, fit, fullness_words, moved_words, room_for_reply


def count(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content.split()) + 2 for message in messages) + 1


def chat(*sizes: int, system: str = "Be brief.", asked: int = 5) -> Conversation:
    """Turns whose message and reply have that many words together, and a last one to be answered."""
    turns = [
        Turn(number, number - 1 or None, f"m{number} " * (size - size // 2), 0.0, _replies(number, size // 2), 0)
        for number, size in enumerate(sizes, 1)
    ]
    last = len(sizes) + 1
    return Conversation(1, system=system, turns=(*turns, Turn(last, last - 1 or None, "now " * asked, 0.0)))


def _replies(number: int, words: int) -> tuple[Reply, ...]:
    return (Reply(number, f"r{number} " * words, ReplyState.COMPLETE),)


def fitted(
    conversation: Conversation,
    context: int,
    window: Window | None = None,
    pinned: Collection[int] = (),
    least: int = 10,
) -> tuple[Window | None, int]:
    """The window, and how many tokens were counted on the way."""
    steps = fit(conversation, context, window=window, pinned=pinned, least=least)
    counted = 0
    messages = next(steps)
    while True:
        try:
            counted += count(messages)
            messages = steps.send(count(messages))
        except StopIteration as end:
            found: Window | None = end.value
            return found, counted


def test_what_fits_is_sent_whole() -> None:
    conversation = chat(20, 20)
    window, _ = fitted(conversation, 100)
    assert window == Window()
    assert window.messages(conversation) == conversation.messages()


def test_the_oldest_go_and_the_system_message_stays() -> None:
    conversation = chat(30, 30, 30)
    window, _ = fitted(conversation, 110)
    assert window == Window(frozenset({1}))
    sent = window.messages(conversation)
    assert [message.content.split()[0] for message in sent] == ["Be", "m2", "r2", "m3", "r3", "now"]
    assert len(conversation.turns) == 4


def test_pinned_turns_stay() -> None:
    window, _ = fitted(chat(30, 30, 30), 110, pinned={1})
    assert window == Window(frozenset({2}))


def test_a_window_that_moved_stays_while_it_fits() -> None:
    moved = Window(frozenset({1}))
    assert fitted(chat(30, 30), 110, moved)[0] == moved
    assert fitted(chat(30, 30, 30, 30), 110, moved)[0] == Window(frozenset({1, 2}))


def test_a_message_too_long_by_itself_fits_in_no_window() -> None:
    assert fitted(chat(30, asked=200), 110)[0] is None
    assert fitted(chat(asked=200), 110)[0] is None
    assert fitted(chat(60, 30), 110, pinned={1, 2})[0] is None


def test_of_a_very_long_chat_little_is_counted_besides_the_whole() -> None:
    conversation = chat(*[40] * 500)
    window, counted = fitted(conversation, 1000)
    assert window is not None
    assert 700 <= count(window.messages(conversation)) <= 750
    assert counted - count(conversation.messages()) < 10 * 1000


@given(
    sizes=st.lists(st.integers(0, 60), max_size=12),
    context=st.integers(30, 400),
    pinned=st.sets(st.integers(1, 12), max_size=3),
    asked=st.integers(1, 60),
)
def test_a_window_fits_and_drops_no_more_than_it_must(
    sizes: list[int], context: int, pinned: set[int], asked: int
) -> None:
    conversation = chat(*sizes, asked=asked)
    window, _ = fitted(conversation, context, pinned=pinned)
    able = [turn.id for turn in conversation.turns[:-1] if turn.id not in pinned]
    if window is None:
        assert count(Window(frozenset(able)).messages(conversation)) > context - 10
        return
    assert count(window.messages(conversation)) <= context - 10
    assert not window.dropped & pinned
    assert window.messages(conversation)[-1].content == conversation.turns[-1].user
    dropped = [turn for turn in able if turn in window.dropped]
    assert dropped == able[: len(dropped)], "the oldest go first"
    if dropped:
        one_more = Window(window.dropped - {dropped[-1]})
        assert count(one_more.messages(conversation)) > min(context - context // 4, context - 10)


def test_a_summary_is_sent_below_the_system_message() -> None:
    window = Window(frozenset({1}), "They met.")
    sent = window.messages(chat(30, 30))
    assert sent[0] == Message("system", "Be brief.\n\nWhat was said before, in short: They met.")
    assert window.messages(chat(30, system=""))[0] == Message("system", "What was said before, in short: They met.")


def test_a_window_belongs_to_its_branch() -> None:
    assert Window(frozenset({1})).fits_path(chat(10))
    assert not Window(frozenset({7})).fits_path(chat(10))


def test_the_error_says_what_would_go_and_what_to_do() -> None:
    conversation = chat(30, 30, 30, 30, 30)
    error = ContextFullError(conversation, Window(frozenset({1, 2, 3, 4})), 1110)
    assert [turn.id for turn in error.turns] == [1, 2, 3, 4]
    for words in ("1,110 tokens", "oldest 4 of 6 messages", '"m1 m1', '"m3 m3', "and 1 more", "stay in the history"):
        assert words in error.message
    for words in ("oldest", "summarise", "new chat"):
        assert words in error.hint


@pytest.mark.parametrize(("used", "told"), [(0, False), (799, False), (800, True), (1000, True)])
def test_fullness_is_told_from_four_fifths_on(used: int, told: bool) -> None:
    words = fullness_words(used, 1000, "ask")
    assert bool(words) is told
    assert not told or (f"{used:,} of 1,000" in words and "asked" in words)


def test_the_cliff_of_longrope_is_told_before_it_is_passed() -> None:
    assert "4,096" not in fullness_words(3000, 8192, "ask", 4096)
    assert "anew" in fullness_words(3500, 8192, "ask", 4096)
    assert "anew" not in fullness_words(4200, 8192, "ask", 4096)


def test_what_moved_is_told() -> None:
    assert "oldest 3 messages" in moved_words(3, "")
    assert "stay in the history" in moved_words(3, "")
    assert moved_words(1, "They met.").endswith("They met.")


def test_a_reply_has_room_or_all_that_it_may_have() -> None:
    assert [room_for_reply(context, None) for context in (256, 4096, 8192)] == [32, 256, 512]
    assert room_for_reply(4096, 10) == 10
