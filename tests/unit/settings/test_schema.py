"""The schema of settings: what a setting may be is said from its type, and choices come from there."""

from __future__ import annotations

import click
import msgspec
import pytest

from edgechat.cli.commands import cli
from edgechat.errors import ConfigError
from edgechat.i18n import catalog
from edgechat.i18n.error_messages import translate_error
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import check_value
from edgechat.settings.schema import Config, choices, permitted
from edgechat.slash.commands import POLICIES


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("temperature", "a number from 0 to 2"),
        ("top_p", "a number above 0, up to 1"),
        ("top_k", "a whole number from 1 to 1000"),
        ("seed", "a whole number from 0 to 2147483647"),
        ("max_tokens", "a whole number from 1 on"),
        ("context_policy", '"ask", "oldest" or "summarise"'),
        ("plain", "true or false"),
        ("theme", "the name of a theme"),
    ],
)
def test_what_a_setting_may_be(key: str, words: str) -> None:
    assert permitted(key) == words


def test_every_setting_has_its_words() -> None:
    assert set(WORDS) == set(Config.__struct_fields__)
    assert all(permitted(key) for key in WORDS)


@pytest.mark.parametrize("key", [key for key in Config.__struct_fields__ if choices(key)])
def test_choices_are_what_is_accepted(key: str) -> None:
    for name in choices(key):
        assert check_value(key, name) == name
    with pytest.raises(ConfigError):
        check_value(key, "nonsense")


def test_bounds_are_what_is_accepted() -> None:
    for key, good, bad in (("seed", 2**31 - 1, 2**31), ("temperature", 2, 2.001), ("top_k", 1, 0), ("context", 64, 63)):
        assert check_value(key, str(good)) == good
        with pytest.raises(ConfigError):
            check_value(key, str(bad))


def test_flags_and_slash_commands_offer_the_same() -> None:
    kinds = {option.name: option.type for option in cli.params}
    for key in ("context_policy", "log_level"):
        kind = kinds[key]
        assert isinstance(kind, click.Choice)
        assert tuple(kind.choices) == choices(key)
    assert choices("context_policy") == POLICIES


def test_it_is_said_in_the_language_of_the_reader() -> None:
    with pytest.raises(ConfigError) as caught:
        check_value("top_k", "0")
    try:
        catalog.use("he")
        assert translate_error(caught.value.message) == "top_k צריך להיות מספר שלם מ-1 עד 1000"
    finally:
        catalog.use("en")
    assert msgspec.structs.asdict(Config())["top_k"] == 50
