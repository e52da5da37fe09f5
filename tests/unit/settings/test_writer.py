"""The user's settings file as edgechat writes it: what changed, and nothing else."""

from __future__ import annotations

import errno
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgechat.errors import ConfigError, StorageError
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import check_value, config_path, load_config, load_settings
from edgechat.settings.schema import Config, permitted
from edgechat.settings.writer import save, template, with_setting

OWN = """# My settings; do not touch.

temperature = 0.5   # tried 0.7, too lively

  # as Anna said
top_p=0.8
some_future_key = [1,
  2]  # of another edgechat

[keys]
# the old one is taken by tmux
"chat.new" = "f7"
"""


def test_the_first_file_explains_every_setting_and_sets_none() -> None:
    text = template()
    assert tomllib.loads(text) == {"keys": {}}
    for key in Config.__struct_fields__:
        assert f"# {key} =" in text or key == "keys"
    uncommented = text.replace("\n# ", "\n").replace('\n"chat.new"', '\n"chat.new"')
    values = tomllib.loads("\n".join(line for line in uncommented.splitlines() if "=" in line or line.startswith("[")))
    assert msgspec.convert(values, Config).seed is not None, "what it shows as examples can be used"


def test_every_setting_has_words() -> None:
    assert set(Config.__struct_fields__) <= set(WORDS)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("temperature", 0.25, "temperature = 0.25   # tried 0.7, too lively"),
        ("top_p", 0.9, "top_p=0.9"),
        ("top_k", 7, "top_k = 7 # Choose among this many of the likeliest words"),
        ("system", 'Say "hi".\nTwice.', None),
        ("spinning", False, None),
        ("keys", {"chat.new": "f7", "app.quit": "ctrl+x"}, '"app.quit" = "ctrl+x"'),
        ("keys", {}, None),
    ],
)
def test_a_change_leaves_everything_else(key: str, value: Any, line: str | None) -> None:
    after = with_setting(OWN, key, value)
    wanted = {**tomllib.loads(OWN), key: value}
    assert tomllib.loads(after) == wanted
    if line is not None:
        assert line in after.splitlines()
    kept = [old for old in OWN.splitlines() if not old.startswith((f"{key} ", f"{key}=")) and '"chat.new"' not in old]
    assert [new for new in after.splitlines() if new in kept] == kept, "every other line, in its order"


def test_a_setting_goes_into_force_in_the_line_that_explains_it_and_out_again() -> None:
    first = template()
    on = with_setting(first, "seed", 5)
    assert [new for old, new in zip(first.splitlines(), on.splitlines(), strict=True) if new != old] == [
        next(line for line in first.splitlines() if line.startswith("# seed")).removeprefix("# ").replace("42", "5", 1)
    ]
    off = with_setting(on, "seed", None)
    assert "seed" not in tomllib.loads(off)
    assert "# seed = 5" in off
    assert tomllib.loads(with_setting(off, "seed", 6)) == {"keys": {}, "seed": 6}


def test_a_line_within_a_text_is_not_taken_for_a_setting() -> None:
    text = 'system = """\n# seed = 1\nseed = 2\n"""\n'
    after = with_setting(text, "seed", 3)
    assert tomllib.loads(after) == {"system": "# seed = 1\nseed = 2\n", "seed": 3}
    assert tomllib.loads(with_setting(after, "seed", None)) == tomllib.loads(text)


def test_line_ends_of_another_system_stay() -> None:
    text = OWN.replace("\n", "\r\n")
    after = with_setting(with_setting(text, "temperature", 1.0), "seed", 2)
    assert "\n" not in after.replace("\r\n", "")
    assert tomllib.loads(after)["temperature"] == 1.0


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "seed", "system", "history", "persona"]),
        st.none() | st.floats(0, 2) | st.integers(0, 9) | st.text() | st.booleans(),
    ),
    st.sampled_from([OWN, "", template()]),
)
def test_whatever_is_written_is_read_again(changes: dict[str, Any], text: str) -> None:
    wanted = tomllib.loads(text)
    for key, value in changes.items():
        if isinstance(value, str) and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
            continue
        text = with_setting(text, key, value)
        wanted.pop(key, None)
        if value is not None:
            wanted[key] = value
    assert tomllib.loads(text) == wanted


def test_what_is_saved_is_in_force() -> None:
    path = save({"temperature": 1.5, "threads": 2, "reduced_motion": True})
    assert path == config_path()
    assert path.stat().st_mode & 0o777 == 0o600
    config = load_config()
    assert (config.temperature, config.threads, config.reduced_motion) == (1.5, 2, True)
    save({"threads": None})
    assert load_settings().source("threads") == "default"


def test_the_file_a_link_names_is_written_and_keeps_its_rights(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(OWN.replace("some_future_key = [1,\n  2]", ""))
    real.chmod(0o640)
    config_path().parent.mkdir(parents=True)
    config_path().symlink_to(real)
    save({"seed": 1})
    assert config_path().is_symlink()
    assert "seed = 1" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save({"seed": 1})
    before = config_path().read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        save({"seed": 2})
    assert str(config_path()) in caught.value.message
    assert config_path().read_bytes() == before
    assert [path.name for path in config_path().parent.iterdir()] == ["config.toml"]


def test_a_file_that_is_not_toml_is_left_alone() -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("temperature = = 1")
    with pytest.raises(ConfigError, match="not TOML"):
        save({"seed": 1})
    assert config_path().read_text() == "temperature = = 1"


def test_what_the_device_locks_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "edgechat"))
    (tmp_path / "edgechat.toml").write_text('system = "Be kind."\nlocked = ["system"]\n')
    for key in ("system", "persona"):
        with pytest.raises(ConfigError, match="locked"):
            save({key: "rude"})
    assert not config_path().exists()


@pytest.mark.parametrize("key", ["temperature", "top_k", "seed", "context", "context_policy", "spinning", "threads"])
def test_a_typed_value_that_is_not_usable_is_told_in_the_words_of_the_setting(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_value(key, "nonsense")
    assert caught.value.message == f"{key} is to be {permitted(key)}"
