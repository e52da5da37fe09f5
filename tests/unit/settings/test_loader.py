"""Settings: where each comes from, and what is said of a bad one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgechat.errors import ConfigError, ExitCode
from edgechat.settings.loader import config_path, load_config
from edgechat.settings.schema import Config


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


def test_what_happens_to_a_full_chat_is_a_setting_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config().context_policy == "ask"
    write("context_policy = 'oldest'\ncache_memory = 512\n")
    assert (load_config().context_policy, load_config().cache_memory) == ("oldest", 512)
    monkeypatch.setenv("EDGECHAT_CONTEXT_POLICY", "summarise")
    assert load_config().context_policy == "summarise"
    assert load_config(context_policy="ask").context_policy == "ask"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("temperature = 9", "temperature"),
        ("temperature = 'hot'", "temperature"),
        ("colour = 'red'", "colour"),
        ("temperature = = 1", "line 1"),
        ("context = 3", "context"),
        ("context_policy = 'forget'", "context_policy"),
        ("cache_memory = -1", "cache_memory"),
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


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The settings file beside a packaged binary; not written yet."""
    folder = tmp_path / "stick"
    folder.mkdir()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "edgechat"))
    return folder / "edgechat.toml"


def test_the_devices_file_is_read_before_the_users(device: Path) -> None:
    device.write_text('system = "Be kind."\ntemperature = 0.7\nhistory = false\n')
    write("temperature = 0.1\n")
    config = load_config()
    assert (config.system, config.temperature, config.history) == ("Be kind.", 0.1, False)


def test_a_model_beside_the_binary_is_named_from_there(device: Path) -> None:
    device.write_text('model_uri = "./phi3"\n')
    assert load_config().model_uri == str(device.parent / "phi3")
    device.write_text('model_uri = "phi3"\n')
    assert load_config().model_uri == "phi3"


def test_what_the_device_locks_nobody_changes(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.write_text('system = "Be kind."\nlocked = ["system", "temperature"]\n')
    write('system = "Be rude."\ntemperature = 2\nseed = 1\n')
    monkeypatch.setenv("EDGECHAT_SYSTEM", "Be rude.")
    config = load_config(seed=2)
    assert (config.system, config.temperature, config.seed) == ("Be kind.", Config().temperature, 2)
    with pytest.raises(ConfigError, match="locked") as caught:
        load_config(system="Be rude.")
    assert "--system" in caught.value.message
    assert str(device) in caught.value.message


@pytest.mark.parametrize("text", ['locked = "system"', 'locked = ["colour"]', "locked = [1]", "locked = 1"])
def test_a_bad_list_of_locked_keys_is_told(device: Path, text: str) -> None:
    device.write_text(text)
    with pytest.raises(ConfigError, match=r"edgechat\.toml"):
        load_config()


def test_a_bad_device_file_is_named(device: Path) -> None:
    device.write_text("temperature = 'hot'")
    with pytest.raises(ConfigError, match=r"edgechat\.toml"):
        load_config()


def test_a_home_nobody_has_in_the_devices_file_is_told(device: Path) -> None:
    device.write_text('model_uri = "~no-such-user-here/x"')
    with pytest.raises(ConfigError, match=r"edgechat\.toml"):
        load_config()


def test_a_switch_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HISTORY", "false")
    assert load_config().history is False
    assert load_config(history=None).history is False
    monkeypatch.setenv("EDGECHAT_HISTORY", "perhaps")
    with pytest.raises(ConfigError, match="EDGECHAT_HISTORY"):
        load_config()
