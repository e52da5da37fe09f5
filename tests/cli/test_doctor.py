"""`edgechat doctor`: what it finds, what it says of broken folders, and what it tells nobody."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgechat import doctor
from edgechat.doctor import machine
from edgechat.doctor.folders import remedy
from edgechat.doctor.preflight import Finding
from edgechat.doctor.redaction import hider
from edgechat.history.store import HistoryStore
from edgechat.runtime import file_ownership, logs, paths
from edgechat.runtime.paths import history_path, own_command
from edgechat.settings.loader import Settings, config_path
from edgechat.settings.personas import folder
from edgechat.tui.keys import problems
from tests.support.rights import bound_by_rights


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        own_command("doctor", *arguments),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def examined(**options: Any) -> dict[str, Finding]:
    return {finding.id: finding for finding in doctor.examine(**options)}


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    logs.stop()


@pytest.mark.model
def test_a_sound_installation(home_with_model: Path) -> None:
    HistoryStore.open(history_path()).close()
    ended = run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    for words in ("Version: edgechat", "smollm2-135m-instruct", "All there", "sound,", "no internet socket"):
        assert words in ended.stdout
    assert "\nx" not in ended.stdout


@pytest.mark.model
def test_the_json_form(home_with_model: Path) -> None:
    ended = run("--json")
    told = json.loads(ended.stdout)
    assert set(told) == {"schema", "version", "ok", "checks"}
    assert (told["schema"], told["ok"], ended.returncode) == (1, True, 0)
    assert all(set(check) == {"id", "title", "state", "detail", "hint"} for check in told["checks"])
    assert {"version", "system", "folder_data", "disk", "memory", "threads", "terminal", "model", "model_files",
            "history", "log", "opt_outs", "offline"} <= {check["id"] for check in told["checks"]}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has Landlock and seccomp")
def test_it_tells_what_confines_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined()["confinement"]
    assert found.state == "ok"
    assert found.detail.startswith("Landlock ABI ")
    assert "+ seccomp" in found.detail
    without = "from edgechat.runtime import landlock, sandbox, seccomp; landlock.abi = lambda: 0; sandbox.report()"
    monkeypatch.setattr(paths, "own_command", lambda *_: [sys.executable, "-c", without])
    found = examined()["confinement"]
    assert found.state == "warn"
    assert found.detail == "seccomp (no Landlock: this kernel has none)"
    monkeypatch.setattr(paths, "own_command", lambda *_: ["/nonexistent"])
    assert examined()["confinement"].detail == "nothing (FileNotFoundError)"


@pytest.mark.model
def test_a_truncated_model(home_with_model: Path) -> None:
    folder = home_with_model / "data" / "models" / "smollm2-135m-instruct"
    weights = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    weights.unlink()  # a hard link: the fixture's own file stays
    weights.write_bytes(b"cut")
    ended = run("--json")
    assert ended.returncode == 1
    check = next(check for check in json.loads(ended.stdout)["checks"] if check["id"] == "model_files")
    assert check["state"] == "fail"
    assert weights.name in check["detail"]
    assert "models add" in check["hint"]
    assert "model_files" in ended.stderr


@pytest.mark.model
def test_a_missing_model_file(home_with_model: Path) -> None:
    folder = home_with_model / "data" / "models" / "smollm2-135m-instruct"
    next(folder.rglob("tokenizer.json")).unlink()
    found = examined()
    assert found["model"].state == "fail"
    assert found["model_broken"].state == "warn"
    assert not doctor.healthy(list(found.values()))


def test_nothing_private_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "people" / "margarete"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "margarete")
    monkeypatch.setenv("EDGECHAT_HOME", str(home / "edgechat"))
    monkeypatch.setenv("EDGECHAT_SYSTEM", "my private words")
    monkeypatch.setattr(platform, "node", lambda: "kitchen-laptop")
    store = HistoryStore.open(history_path())
    chat = store.create_conversation(title="a private title")
    store.add_turn(chat.id, None, "a private message")
    store.close()
    text = doctor.as_text(doctor.examine())
    for words in ("margarete", "kitchen-laptop", "private", str(tmp_path)):
        assert words not in text
    assert "~/edgechat/data" in text
    assert "system (environment)" in text


def test_the_names_of_user_and_machine_are_hidden_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "al")
    monkeypatch.setattr(platform, "node", lambda: "boiler7")
    monkeypatch.setenv("HOME", "/home/al")
    hide = hider()
    assert hide("/home/al/x, /home/alfred, /mnt/al/y on boiler7; all total") == (
        "~/x, /home/alfred, /mnt/USER/y on HOST; all total"
    )


def test_a_damaged_history(own_home: Path) -> None:
    HistoryStore.open(history_path()).close()
    history_path().write_bytes(b"not a database" * 500)
    found = examined()
    assert found["history"].state == "fail"
    assert "next start" in found["history"].hint
    assert history_path().read_bytes().startswith(b"not a database")


def test_folders_that_cannot_be_used(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HOME", str(open_folder / "home"))
    for name in ("state", "data", "config"):
        (open_folder / "home" / name).mkdir(parents=True)
    (open_folder / "home" / "cache").write_text("no folder")
    HistoryStore.open(history_path()).close()
    with bound_by_rights(open_folder):
        (open_folder / "home" / "state").chmod(0o500)
        (open_folder / "home" / "data").chmod(0)
        (open_folder / "home" / "config").chmod(0o755)
        found = examined()
        (open_folder / "home" / "data").chmod(0o700)
    assert "cannot be written to" in found["folder_state"].detail
    assert found["folder_data"].state == "fail"
    assert found["folder_cache"].state == "fail"
    assert (found["folder_config"].state, "chmod 700" in found["folder_config"].hint) == ("warn", True)


def test_a_folder_that_cannot_be_made(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HOME", str(open_folder / "closed" / "home"))
    (open_folder / "closed").mkdir()
    with bound_by_rights(open_folder):
        (open_folder / "closed").chmod(0o500)
        found = examined()
    assert found["folder_data"].state == "fail"
    assert "EDGECHAT_HOME" in found["folder_data"].hint


def test_a_setting_that_is_not_usable(own_home: Path) -> None:
    (own_home / "config").mkdir(parents=True)
    (own_home / "config" / "config.toml").write_text("temperature = 9\n")
    ended = run("--json")
    assert ended.returncode == 1
    check = next(check for check in json.loads(ended.stdout)["checks"] if check["id"] == "settings")
    assert (check["state"], "temperature" in check["detail"]) == ("fail", True)


def test_locked_settings_are_told() -> None:
    found = examined(settings=lambda: Settings(locked=frozenset({"system", "model_uri"})))
    assert "locked: model_uri, system" in found["settings"].detail


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"TERM": "dumb"}, "only show lines"), ({"PYTHONIOENCODING": "ascii"}, "UTF-8")],
)
def test_a_terminal_that_can_little(environment: dict[str, str], words: str) -> None:
    checks = json.loads(run("--json", **environment).stdout)["checks"]
    check = next(check for check in checks if check["id"] == "terminal")
    assert check["state"] == "warn"
    assert words in check["detail"]


def test_a_connection_while_the_checks_run_is_seen() -> None:
    def settings() -> Settings:
        with socket.socket() as one:
            one.settimeout(1)
            one.connect_ex(("127.0.0.1", 9))
        return Settings()

    found = examined(settings=settings)
    assert found["offline"].state == "fail"
    assert "socket.connect" in found["offline"].detail
    assert examined()["offline"].state == "ok"  # and not any more


def test_a_socket_that_is_open_is_seen() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert examined()["offline"].state == "fail"


def test_an_opt_out_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    found = examined()["opt_outs"]
    assert (found.state, "ORT_DISABLE_TELEMETRY" in found.detail) == ("fail", True)


def test_little_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 50_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert examined()["disk"].state == "warn"


def test_faults_in_the_log_are_told(own_home: Path) -> None:
    logs.start()
    logs.fault(ValueError("words"), "a test")
    found = examined()["log"]
    assert (found.state, "1 unexpected" in found.detail) == ("warn", True)


def test_a_check_that_faints_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("words")

    monkeypatch.setattr(machine, "hardware", broken)
    found = examined()
    assert found["check"].state == "fail"
    assert "words" not in found["check"].detail
    assert "offline" in found


def test_keys_and_personas_that_are_none_are_told() -> None:
    assert {"keys", "personas"}.isdisjoint(examined(key_problems=problems))
    config_path().parent.mkdir(parents=True, exist_ok=True)
    config_path().write_text('[keys]\n"chat.nwe" = "f7"\n')
    folder().mkdir()
    (folder() / "bad.md").write_text("no title")
    found = examined(key_problems=problems)
    assert "Did you mean chat.new?" in found["keys"].detail
    assert "edgechat keys" in found["keys"].hint
    assert "bad.md" in found["personas"].detail
    assert {found["keys"].state, found["personas"].state} == {"warn"}


def test_how_rights_are_changed_fits_the_disk(mounted: Callable[..., Path]) -> None:
    assert remedy("700", mounted("-t", "tmpfs", "tmpfs")).startswith("chmod 700 ")
    assert "read-only" in remedy("700", mounted("-t", "tmpfs", "-o", "ro", "tmpfs"))


def test_a_stick_that_keeps_no_rights_is_mounted_with_them(
    mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every kernel has FAT, so a real mount is taken for one of it.
    monkeypatch.setattr(file_ownership, "_MODELESS", frozenset({"tmpfs"}))
    assert "umask=077" in remedy("700", mounted("-t", "tmpfs", "tmpfs"))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something on a folder of its own; skips where that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    places: list[Path] = []

    def mount(*arguments: str) -> Path:
        place = tmp_path / f"mounted {len(places)}"
        place.mkdir()
        ended = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
        if ended.returncode:
            pytest.skip(f"cannot be mounted here: {ended.stderr.strip()}")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)
