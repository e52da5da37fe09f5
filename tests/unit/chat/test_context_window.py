"""What is sent when not all of it fits; a token is a word here, and each message has two more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.context_window import (
    ContextFullError,
    fit,
    fullness_notice,
    moved_notice,
    room_for_reply,
    window_over,
    windowed,
)
from edgechat.chat.conversation import Conversation, Message, Reply, ReplyState, Turn, Window


def count(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content.split()) + 2 for message in messages) + 1


def chat(*sizes: int, system: str = "Be brief.", asked: int = 5, pinned: Collection[int] = ()) -> Conversation:
    """Turns whose message and reply have that many words together, and a last one to be answered."""
    turns = [
        Turn(number, number - 1 or None, f"m{number} " * (size - size // 2), 0.0, _replies(number, size // 2), 0)
        for number, size in enumerate(sizes, 1)
    ]
    last = len(sizes) + 1
    turns.append(Turn(last, last - 1 or None, "now " * asked, 0.0))
    return Conversation(1, system=system, turns=tuple(replace(turn, pinned=turn.id in pinned) for turn in turns))


def _replies(number: int, words: int) -> tuple[Reply, ...]:
    return (Reply(number, f"r{number} " * words, ReplyState.COMPLETE),)


def fitted(
    conversation: Conversation, context: int, window: Window | None = None, least: int = 10
) -> tuple[Window | None, int]:
    """The window, and how many tokens were counted on the way."""
    steps = fit(conversation, context, window=window, least=least)
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
    assert windowed(conversation, window) == conversation.messages()


def test_the_oldest_go_and_the_system_message_stays() -> None:
    conversation = chat(30, 30, 30)
    window, _ = fitted(conversation, 110)
    assert window == Window(1, context=110)
    sent = windowed(conversation, window)
    assert [message.content.split()[0] for message in sent] == ["Be", "m2", "r2", "m3", "r3", "now"]
    assert len(conversation.turns) == 4


def test_pinned_turns_stay() -> None:
    conversation = chat(30, 30, 30, pinned={1})
    window, _ = fitted(conversation, 110)
    assert window == Window(2, context=110)
    assert [turn.id for turn in conversation.turns if window.leaves_out(turn)] == [2]


def test_a_turn_pinned_after_it_left_is_sent_again() -> None:
    conversation = chat(10, 10, pinned={1})
    assert windowed(conversation, Window(2))[1].content.startswith("m1")
    assert fitted(conversation, 110, Window(2))[0] == Window(2)


def test_a_window_that_moved_stays_while_it_fits() -> None:
    moved = Window(1, context=110)
    assert fitted(chat(30, 30), 110, moved)[0] == moved
    assert fitted(chat(30, 30, 30, 30), 110, moved)[0] == Window(2, context=110)


def test_a_message_too_long_by_itself_fits_in_no_window() -> None:
    assert fitted(chat(30, asked=200), 110)[0] is None
    assert fitted(chat(asked=200), 110)[0] is None
    assert fitted(chat(60, 30, pinned={1, 2}), 110)[0] is None


def test_of_a_very_long_chat_little_is_counted_besides_the_whole() -> None:
    conversation = chat(*[40] * 500)
    window, counted = fitted(conversation, 1000)
    assert window is not None
    assert 700 <= count(windowed(conversation, window)) <= 750
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
    conversation = chat(*sizes, asked=asked, pinned=pinned - {len(sizes) + 1})
    window, _ = fitted(conversation, context)
    able = [turn.id for turn in conversation.turns[:-1] if turn.id not in pinned]
    if window is None:
        assert count(windowed(conversation, Window(len(sizes)))) > context - 10
        return
    assert count(windowed(conversation, window)) <= context - 10
    left = [turn.id for turn in conversation.turns if window.leaves_out(turn)]
    assert not set(left) & pinned
    assert windowed(conversation, window)[-1].content == conversation.turns[-1].user
    assert left == able[: len(left)], "the oldest go first"
    if left:
        one_more = Window(left[-1] - 1)
        assert count(windowed(conversation, one_more)) > min(context - context // 4, context - 10)


def test_a_summary_is_sent_below_the_system_message() -> None:
    window = Window(1, "They met.")
    sent = windowed(chat(30, 30), window)
    assert sent[0] == Message("system", "Be brief.\n\nWhat was said before, in short: They met.")
    assert windowed(chat(30, system=""), window)[0] == Message("system", "What was said before, in short: They met.")


def test_the_window_that_was_found_last_on_the_path_holds() -> None:
    conversation = chat(10, 10, 10)
    one, two, three, last = conversation.turns
    early, late = Window(1, "early", 100), Window(2, "late", 100)
    moved = replace(conversation, turns=(one, replace(two, window=early), replace(three, window=late), last))
    assert window_over(conversation) == Window()
    assert window_over(moved) == late
    assert window_over(replace(moved, turns=(*moved.turns[:2], last))) == early, "another branch"


def test_in_a_much_larger_context_a_chat_is_sent_whole_again() -> None:
    conversation = chat(10, 10)
    moved = replace(
        conversation, turns=(*conversation.turns[:-1], replace(conversation.turns[-1], window=Window(1, "", 100)))
    )
    assert window_over(moved, 110).upto == 1, "a context varies with the memory there is"
    assert window_over(moved, 200) == Window()


def test_the_error_says_what_would_go_and_what_to_do() -> None:
    conversation = chat(30, 30, 30, 30, 30)
    error = ContextFullError(conversation, Window(4), 1110)
    assert [turn.id for turn in error.turns] == [1, 2, 3, 4]
    for words in ("1,110 tokens", "oldest 4 of 6 messages", '"m1 m1', '"m3 m3', "and 1 more", "stay in the history"):
        assert words in error.message
    for words in ("oldest", "summarise", "new chat"):
        assert words in error.hint


@pytest.mark.parametrize(("used", "told"), [(0, False), (799, False), (800, True), (1000, True)])
def test_fullness_is_told_from_four_fifths_on(used: int, told: bool) -> None:
    words = fullness_notice(used, 1000, "ask")
    assert bool(words) is told
    assert not told or (f"{used:,} of 1,000" in words and "asked" in words)


def test_the_cliff_of_longrope_is_told_before_it_is_passed() -> None:
    assert "4,096" not in fullness_notice(3000, 8192, "ask", 4096)
    assert "anew" in fullness_notice(3500, 8192, "ask", 4096)
    assert "anew" not in fullness_notice(4200, 8192, "ask", 4096)


def test_what_moved_is_told() -> None:
    assert "oldest 3 messages" in moved_notice(3, "")
    assert "stay in the history" in moved_notice(3, "")
    assert moved_notice(1, "They met.").endswith("They met.")


def test_a_reply_has_room_or_all_that_it_may_have() -> None:
    assert [room_for_reply(context, None) for context in (256, 4096, 8192)] == [32, 256, 512]
    assert room_for_reply(4096, 10) == 10
