"""Text made fit to store and to show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.sanitize import printable, storable


def test_nul_and_lone_surrogates_are_replaced_and_counted() -> None:
    assert storable("a\x00b\ud800c\udfff") == ("a\ufffdb\ufffdc\ufffd", 3)


def test_line_ends_become_newlines() -> None:
    assert storable("a\r\nb\rc\n") == ("a\nb\nc\n", 0)


@given(st.text(st.characters(codec=None)))  # surrogates included
def test_storable_text_can_be_stored(text: str) -> None:
    mended, _ = storable(text)
    mended.encode("utf-8")
    assert "\x00" not in mended


def test_escape_sequences_are_made_visible() -> None:
    assert printable("\x1b[31mred\x1b]8;;http://x\x07\x9b0m\x7f") == "␛[31mred␛]8;;http://x␇\ufffd0m␡"


def test_ordinary_text_is_left_alone() -> None:
    text = "Zeile\n\tTab שלום 你好 👩‍🚀 é"
    assert printable(text) == text


def test_bidirectional_overrides_are_taken_away() -> None:
    assert printable("a\u202eb\u2066c") == "a\ufffdb\ufffdc"


@given(st.text())
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in printable(text))
