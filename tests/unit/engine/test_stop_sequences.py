"""Stop strings: nothing of one is shown, and nothing else is lost, however the text is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgechat.engine.stop_sequences import StopStrings

texts = st.text(alphabet="ab\n", max_size=30)
stops = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), max_size=3)


@given(texts, stops, st.lists(st.integers(1, 4), min_size=30, max_size=30))
def test_what_is_shown_is_the_text_before_the_first_stop(text: str, stop: list[str], cuts: list[int]) -> None:
    watch = StopStrings(stop)
    shown, at = "", 0
    for cut in cuts:
        shown += watch.feed(text[at : at + cut])
        at += cut
        # What is shown can never have to be taken back.
        assert text.startswith(shown)
        assert not any(word in shown for word in stop)
    shown += watch.flush()
    ends = {text.find(word) + len(word) for word in stop if word in text}
    assert watch.hit == bool(ends)
    if not ends:
        assert shown == text


def test_the_first_stop_cuts() -> None:
    watch = StopStrings(["END", "\n\n"])
    assert watch.feed("One E") == "One "
    assert watch.feed("ND two") == ""
    assert watch.hit
    assert watch.feed("more") == watch.flush() == ""


def test_what_only_began_like_a_stop_is_given_back() -> None:
    watch = StopStrings(["END"])
    assert watch.feed("EN") == ""
    assert watch.feed("GINE") == "ENGIN"
    assert watch.flush() == "E"
    assert not watch.hit
