"""Personas: the shipped ones, the user's own, files that are none, and which system message counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechat.errors import ConfigError
from edgechat.settings.loader import config_path, load_settings
from edgechat.settings.personas import LONGEST, all_personas, find, folder, read, system_message
from edgechat.settings.schema import Config


def own(name: str, text: str | bytes) -> Path:
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_those_that_are_shipped_can_all_be_used() -> None:
    personas, faults = all_personas()
    assert faults == []
    assert {"plain", "translator", "reviewer", "summary", "checklist"} <= {persona.name for persona in personas}
    for persona in personas:
        assert persona.shipped
        assert len(persona.text.split()) < 100, "a small model follows a few sentences"
        assert persona.text.isprintable() or "\n" in persona.text
        assert find(persona.title.upper()) == find(persona.name) == persona


def test_a_file_of_the_users_own_is_one_and_goes_before_a_shipped_one() -> None:
    own("cook.md", "# Ship's cook\n\nYou cook at sea.\r\nBe salty.\n")
    own("Plain.txt", "\ufeff# Mine\nBe plain.")
    own(".hidden.md", "")
    own("notes.pdf", "no persona at all")
    personas, faults = all_personas()
    assert faults == []
    assert find("ship's  COOK").text == "You cook at sea.\nBe salty."
    assert find("plain").text == "Be plain."
    assert not find("cook").shipped
    assert [persona.title for persona in personas] == sorted((persona.title for persona in personas), key=str.casefold)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "the first line is not `# Title`"),
        ("You are a cook.", "the first line is not `# Title`"),
        ("#\nx", "the first line is not `# Title`"),
        ("# Cook\n\n  \n", "there is no system message below the title"),
        (b"# Cook\n\xff\xfe", "not UTF-8"),
        ("# Cook\n" + "x" * LONGEST, "longer than 64 KB"),
    ],
)
def test_a_file_that_is_none_is_told_and_keeps_no_other_from_being_used(data: str | bytes, words: str) -> None:
    path = own("cook.md", data)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert words in caught.value.message
    assert str(path) in caught.value.message
    personas, faults = all_personas()
    assert [fault.message for fault in faults] == [caught.value.message]
    assert personas
    with pytest.raises(ConfigError, match=r"cook\.md"):
        find("cook")


def test_a_folder_of_that_name_is_told() -> None:
    (folder() / "cook.md").mkdir(parents=True)
    assert [str(folder() / "cook.md") in fault.message for fault in all_personas()[1]] == [True]


def test_a_name_that_is_none_gets_the_nearest_and_never_leaves_the_folder() -> None:
    with pytest.raises(ConfigError, match="Did you mean checklist") as caught:
        find("checklst")
    assert "translator" in caught.value.hint
    config_path().parent.mkdir(parents=True, exist_ok=True)
    (config_path().parent / "secret.md").write_text("# Secret\nx")
    with pytest.raises(ConfigError):
        find("../secret")


def test_which_system_message_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = find("plain").text
    assert system_message(load_settings()) == Config().system
    assert system_message(load_settings(persona="plain")) == plain
    config_path().parent.mkdir(parents=True)
    config_path().write_text('system = "File."\npersona = "plain"\n')
    assert system_message(load_settings()) == plain
    assert system_message(load_settings(system="Flag.")) == "Flag."
    monkeypatch.setenv("EDGECHAT_SYSTEM", "Environment.")
    assert system_message(load_settings()) == "Environment."
    assert system_message(load_settings(persona="plain")) == plain
    with pytest.raises(ConfigError, match="--persona and --system"):
        system_message(load_settings(persona="plain", system="Flag."))


def test_a_persona_of_the_file_that_is_not_there_is_told_with_the_file() -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text('persona = "nobody"\n')
    with pytest.raises(ConfigError) as caught:
        system_message(load_settings())
    assert str(config_path()) in caught.value.message
