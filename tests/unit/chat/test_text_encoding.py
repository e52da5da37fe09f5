"""Bytes as text: every form of Unicode with or without its mark, older encodings, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgechat.chat.text_encoding import NotTextError, decoded

UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc"]), min_size=1)


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])), st.sampled_from(UNICODE))
def test_what_has_a_mark_or_is_utf_8_is_exact(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding)).text == text


@given(LATIN, st.sampled_from(("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")))
def test_latin_text_needs_no_mark(text: str, encoding: str) -> None:
    data = f"The reading was: {text}\r\n".encode(encoding)
    assert decoded(data).text == f"The reading was: {text}\r\n"
    assert decoded(data).encoding == encoding


@given(st.binary())
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        found = decoded(data)
    except NotTextError:
        return
    assert "\0" not in found.text
    if found.first_wrong is None:
        assert found.text == data.decode("utf-8-sig") or found.encoding != "utf-8"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00\x00\xfe\xff\x00", b"\xff\xfe\x00\xd8x"])
def test_what_only_begins_as_unicode_is_refused(data: bytes) -> None:
    with pytest.raises(NotTextError, match="begins as"):
        decoded(data)
