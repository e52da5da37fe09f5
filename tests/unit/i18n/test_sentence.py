"""Sentences: source texts with parameters, sent, stored and put into words elsewhere and later."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgechat
from edgechat.engine.worker import protocol
from edgechat.errors import EdgechatError, ModelError
from edgechat.i18n import catalog
from edgechat.i18n.error_messages import translate_error, translate_stored_error
from edgechat.i18n.sentence import Sentence, dump, load, plain, restored


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    catalog.use("en")


MISSING = Sentence('No model called "{name}" is installed.', name="phi3")


def test_it_is_its_english_words() -> None:
    assert MISSING == 'No model called "phi3" is installed.'
    assert str(EdgechatError("Model not found", MISSING)) == f"Model not found: {MISSING}"
    assert Sentence("{a} and {b} and {c}", a=1, b="{a}") == "1 and {a} and {c}"


def test_sentences_within_are_put_into_words_too() -> None:
    catalog.use("he")
    whole = Sentence("Chat {number}: {message}", number=3, message=MISSING)
    assert "phi3" in translate_error(whole)
    assert "No model called" not in translate_error(whole)


@pytest.mark.parametrize(
    "carry", [copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text)), lambda t: restored(plain(t))]
)
def test_it_stays_whole_when_it_is_carried(carry) -> None:  # type: ignore[no-untyped-def]
    carried = carry(MISSING)
    assert isinstance(carried, Sentence)
    assert (carried, carried.source, carried.values) == (MISSING, MISSING.source, MISSING.values)


def test_it_goes_from_process_to_process() -> None:
    failure = protocol.Failure.of(ModelError("Model not found", MISSING, "Look again."))
    line = protocol.encode(protocol.AnswerLine(1, failure)) if hasattr(protocol, "AnswerLine") else None
    body = protocol.decode_answer(line).body if line is not None else failure
    error = body.error()  # type: ignore[union-attr]
    assert isinstance(error, ModelError)
    catalog.use("he")
    assert translate_error(error.message) == 'לא מותקן מודל בשם "phi3".'


def test_what_was_stored_is_read_in_any_language() -> None:
    stored = dump("Model not found", MISSING)
    assert translate_stored_error(stored) == f"Model not found. {MISSING}"
    catalog.use("he")
    assert translate_stored_error(stored).endswith('לא מותקן מודל בשם "phi3".')
    assert "not found" not in translate_stored_error(stored)


def test_what_an_older_version_stored_stays_as_it_is() -> None:
    for stored in ("The model process crashed. It was ended by signal SIGSEGV.", "", "{", '{"title":', '{"title": 7}'):
        assert translate_stored_error(stored) == stored


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.floats(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
    )
)
def test_anything_may_stand_there(value: object) -> None:
    assert isinstance(restored(value), str)
    assert isinstance(translate_stored_error(json.dumps({"title": value, "message": value})), str)


def test_a_text_from_a_file_can_ask_for_nothing() -> None:
    """Neither for attributes nor for a width of a gigabyte, as it could with `str.format`."""
    for source in ("{x.__class__}", "{x:>999999999}", "{x!r}", "{0}", "{"):
        assert restored([source, {"x": "y"}]) == source
    deep: object = "end"
    for _ in range(5000):
        deep = ["{x}", {"x": deep}]
    assert isinstance(load(json.dumps({"title": "", "message": "m"}))[1], str)
    assert translate_stored_error('{"title":' + "[" * 100_000) == '{"title":' + "[" * 100_000


def test_every_sentence_in_the_source_has_plain_places_and_a_value_for_each() -> None:
    wrong = []
    for path in sorted(Path(edgechat.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sentence":
                source = node.args[0]
                if isinstance(source, ast.Constant):
                    places = set(re.findall(r"\{([^{}]*)\}", str(source.value)))
                    if places != {keyword.arg for keyword in node.keywords}:
                        wrong.append((path.name, node.lineno, source.value))
    assert not wrong
