"""Which way text runs: against another implementation of the same algorithm, and in what that one does not do."""

from __future__ import annotations

import unicodedata

import pytest
from bidi import get_display
from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.bidi import base_of, direction_of, levels_of, runs_both_ways, visual, visual_order

SIGNS = "abzאבשتيح1239٣٤ .,:;+-%$€()[]{}<>\"'!?/#日é"


@given(st.text(SIGNS, max_size=40), st.sampled_from("LR"))
def test_the_order_is_that_of_the_standard(text: str, base: str) -> None:
    order = visual_order(text, "R" if base == "R" else "L")
    assert "".join(text[start:end] for start, end, _ in order) == get_display(text, base_dir=base)


@given(st.text(max_size=60), st.sampled_from("LR"))
def test_no_character_is_lost_or_doubled(text: str, base: str) -> None:
    order = visual_order(text, "R" if base == "R" else "L")
    assert sorted(place for start, end, _ in order for place in range(start, end)) == list(range(len(text)))


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_text_from_left_to_right_stays_as_it_is(text: str) -> None:
    assert not runs_both_ways(text)
    assert direction_of(text) is None
    assert visual(text, "L") == text


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("שלום edgechat", "R"),
        ("edgechat שלום", "L"),
        ("123, (שלום)", "R"),
        ("- **שלום**", "R"),
        ("مرحبا", "R"),
        ("123", "L"),
        ("", "L"),
    ],
)
def test_the_first_letter_gives_the_direction(text: str, base: str) -> None:
    assert base_of(text) == base


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("שלום", "םולש"),
        ("שלום (abc) 12", "12 (abc) םולש"),
        ("מחיר: 1,234.5 ש״ח (כולל מע״מ).", ".(מ״עמ ללוכ) ח״ש 1,234.5 :ריחמ"),
        ("ב-edgechat 2.0 יש", "שי edgechat 2.0-ב"),
        ("a < ב > c", "a < ב > c"),
        ("א < ב", "ב > א"),
    ],
)
def test_brackets_open_to_the_other_side_and_numbers_stay(text: str, shown: str) -> None:
    assert visual(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("שָׁלוֹם", "םוֹלשָׁ"),  # points stay behind their letter
        ("א 👨‍👩‍👧 ב", "ב 👨‍👩‍👧 א"),
        ("א 🇮🇱 ב", "ב 🇮🇱 א"),
        ("א 👍🏽 ב", "ב 👍🏽 א"),
        ("א ❤️ ב", "ב ❤️ א"),
    ],
)
def test_what_is_one_sign_stays_together(text: str, shown: str) -> None:
    assert unicodedata.normalize("NFC", visual(text)) == unicodedata.normalize("NFC", shown)


def test_controls_that_reorder_are_not_obeyed() -> None:
    assert levels_of("a\u202ebc\u202c", "L") == [0] * 5
