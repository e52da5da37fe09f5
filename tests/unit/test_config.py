"""Settings: where each comes from, and what is said of a bad one."""

from __future__ import annotations

import pytest

from edgechat.config import Config, config_path, load_config
from edgechat.errors import ConfigError, ExitCode


def write(text: str) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text(text, encoding="utf-8")


def test_defaults_need_no_file() -> None:
    assert load_config() == Config()


def test_flag_beats_environment_beats_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("temperature = 0.1\nseed = 1\ncontext = 512\n")
    monkeypatch.setenv("EDGECHAT_TEMPERATURE", "0.2")
    monkeypatch.setenv("EDGECHAT_SEED", "2")
    config = load_config(seed=3, model_uri=None)
    assert (config.temperature, config.seed, config.context) == (0.2, 3, 512)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("temperature = 9", "temperature"),
        ("temperature = 'hot'", "temperature"),
        ("colour = 'red'", "colour"),
        ("temperature = = 1", "line 1"),
        ("context = 3", "context"),
    ],
)
def test_a_bad_file_is_named_with_its_key(text: str, word: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert str(config_path()) in caught.value.message
    assert word in caught.value.message
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_file_that_is_not_text_is_named() -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config()


def test_a_settings_file_that_cannot_be_read_is_named() -> None:
    config_path().mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config()


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_MAX_TOKENS", "many")
    with pytest.raises(ConfigError, match="EDGECHAT_MAX_TOKENS"):
        load_config()


def test_a_bad_flag_is_named() -> None:
    with pytest.raises(ConfigError, match="--max-tokens"):
        load_config(max_tokens=-1)
