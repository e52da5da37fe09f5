"""The interface's languages: which one is chosen, and whether the catalogues hold what the source says."""

from __future__ import annotations

import gettext
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edgechat.errors import EdgechatError
from edgechat.i18n import catalog
from edgechat.i18n.catalog import _, counted, ngettext
from edgechat.i18n.error_messages import translate_error
from edgechat.i18n.sentence import Sentence

ROOT = Path(__file__).resolve().parents[3]
PLACE = re.compile(r"\{[^{}]*\}")
CATALOGUES = sorted(catalog.FOLDER.glob("*/LC_MESSAGES/edgechat.po"))


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    catalog.use("en")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogues", ROOT / "build" / "catalogues.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["catalogues"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "he_IL.UTF-8"}, "he"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "he_IL.UTF-8"}, "he"),
        ({"LANG": "he_IL.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "he_IL.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "xx:he:en"}, "he"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "en:he"}, "en"),
        ({"LANG": "C", "LANGUAGE": "he"}, "en"),
        ({"LANG": "iw_IL"}, "he"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "../../he"}, "en"),
        ({"LANG": "en_US.UTF-8", "EDGECHAT_LANGUAGE": "he"}, "he"),
        ({"LANG": "he_IL.UTF-8", "EDGECHAT_LANGUAGE": "en"}, "en"),
    ],
)
def test_the_locale_chooses(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], language: str) -> None:
    for name in catalog.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert catalog.use() == language


def test_a_setting_goes_before_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    assert catalog.use("he-IL") == "he"
    assert catalog.right_to_left()
    assert _("New chat") == "שיחה חדשה"
    assert catalog.use("en") == "en"
    assert not catalog.right_to_left()
    assert _("New chat") == "New chat"


def test_numbers_have_their_forms() -> None:
    assert [ngettext("{n} message", "{n} messages", count) for count in (1, 2)] == ["{n} message", "{n} messages"]
    catalog.use("he")
    assert ngettext("{n} message", "{n} messages", 2).format(n=2) == "2 הודעות"


def test_english_imports_nothing() -> None:
    code = """
import sys
from edgechat.i18n.catalog import _
from edgechat.i18n.error_messages import translate_error
assert _("New chat") == translate_error("New chat") == "New chat"
print(sorted({"gettext", "locale", "tomllib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_error_is_told_in_the_language_of_whoever_reads_it() -> None:
    error = EdgechatError(
        "Chat history is busy",
        Sentence(
            "Another program has kept {path} locked for {busy_seconds} seconds.",
            path="/home/me/history.db",
            busy_seconds=5,
        ),
        "Close that program, then try again.",
    )
    assert (
        translate_error(error.message)
        == error.message
        == "Another program has kept /home/me/history.db locked for 5 seconds."
    )
    catalog.use("he")
    assert translate_error(error.title) == "היסטוריית השיחות תפוסה"
    assert translate_error(error.message) == "תוכנית אחרת נועלת את /home/me/history.db כבר 5 שניות."
    assert translate_error("What no source says: {x}") == "What no source says: {x}"
    assert translate_error("") == ""


def test_what_stands_in_an_error_is_taken_as_it_is() -> None:
    catalog.use("he")
    error = Sentence('No model called "{name}" is installed.', name="{root} \\1")
    assert translate_error(error) == 'לא מותקן מודל בשם "{root} \\1".'


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
class TestCatalogue:
    def test_it_holds_what_the_source_says(self, path: Path, tool: ModuleType) -> None:
        words = tool.read(path)
        known = {message.id if isinstance(message.id, str) else message.id[0] for message in words if message.id}
        assert known == set(tool.texts()), "run build/catalogues.py"
        assert tool.missing(words) == []
        assert not any(message.fuzzy for message in words)

    def test_it_is_compiled(self, path: Path, tool: ModuleType, tmp_path: Path) -> None:
        fresh = tmp_path / "he" / "LC_MESSAGES" / "edgechat.po"
        tool.write(fresh, tool.read(path))
        assert _entries(fresh.with_suffix(".mo")) == _entries(path.with_suffix(".mo")), "run build/catalogues.py"

    def test_places_agree(self, path: Path, tool: ModuleType) -> None:
        texts = tool.texts()
        for message in tool.read(path):
            sources = [message.id] if isinstance(message.id, str) else list(message.id)
            forms = [message.string] if isinstance(message.string, str) else list(message.string)
            wanted = {place for source in sources for place in PLACE.findall(source)}
            for form in forms:
                if sources[0] and texts[sources[0]].formatted and form is forms[-1]:
                    assert set(PLACE.findall(form)) == wanted, message.id
                elif sources[0]:  # the form for one may leave out the number, an error its "is" or "are"
                    assert set(PLACE.findall(form)) <= wanted, message.id

    def test_keys_and_commands_stay(self, path: Path, tool: ModuleType) -> None:
        kept = re.compile(r"Ctrl\+\w+|Alt\+\w+|\bF\d+\b|\bEsc\b|`[^`]+`|--[a-z-]+|(?<![\w/])/[a-z]+\b")
        for message in tool.read(path):
            if isinstance(message.id, str) and isinstance(message.string, str):
                assert set(kept.findall(message.id)) <= set(kept.findall(message.string)), message.id


def test_the_source_marks_what_can_be_extracted(tool: ModuleType) -> None:
    texts = tool.texts()
    assert "New chat" in texts
    assert texts["{n} message"].plural == "{n} messages"
    assert "Another program has kept {path} locked for {busy_seconds} seconds." in texts
    assert "Begin a new chat; this one stays saved" in texts


def _entries(path: Path) -> dict[object, str]:
    with path.open("rb") as file:
        table: dict[object, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key: words for key, words in table.items() if key}


NOUNS = (
    "bytes|cells|characters|chats|columns|cores|days|files|folders|hours|layers|lines|messages|models|replies|rows|"
    "seconds|steps|tables|threads|times|tokens|turns|words"
)
COUNTED = re.compile(rf"\{{(\w+)(?::[^}}]*)?\}} (?:{NOUNS})\b")

NEVER_ONE = {
    "context": "no model's context holds one token",
    "of": "no model's context holds one token",
    "busy_seconds": "a constant",
    "most_files": "a constant",
    "speed": "a number with decimals",
    "size": "more than a megabyte",
    "used": "more than a window",
}
"""Places that stand before the name of several things, and why that is right."""

NEVER_ONE_IN = {
    "{n} tokens": "the context",
    "{n} tokens of context": "the context",
    "speed: {n:.1f} tokens a second": "a number with decimals",
    "context: {n:,} tokens, of {of:,} it was made for": "the context",
    "{name} is ready. Its context holds {n:,} tokens.": "the context",
    "It has {tokens:,} tokens; the context holds {context:,}, the reply included.": "more than the context",
    "It has {tokens} tokens; the context holds {context}, the reply included.": "more than the context",
    "weights {weights}, {tokens} tokens of context {cache}; {free} are free": "the context",
}


def test_every_count_has_a_form_for_one(tool: ModuleType) -> None:
    wrong = [
        text
        for text, found in tool.texts().items()
        if not found.plural and text not in NEVER_ONE_IN
        for place in COUNTED.findall(text)
        if place not in NEVER_ONE
    ]
    assert wrong == []


def test_counts_that_are_not_translated_have_a_form_for_one() -> None:
    number = re.compile(rf"\{{(?!counted)[^{{}}]*(?:len\(|count|size|number|total)[^{{}}]*\}} (?:{NOUNS})\b")
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "edgechat" / "cli").glob("*.py"))
        if not path.name.startswith("bench")
        for line in path.read_text(encoding="utf-8").splitlines()
        if number.search(line) and "if len(ids) == 1" not in line
    ]
    assert wrong == []


def test_one_thing_is_one() -> None:
    assert [counted(number, "chat") for number in (0, 1, 2, 2000)] == ["0 chats", "1 chat", "2 chats", "2,000 chats"]
    assert counted(2, "reply", "replies") == "2 replies"
