"""A hundred devices with the same stick: settings, models and updates beside the binary."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.history.store import HistoryStore
from tests.support.bundles import Bundle, device, needs_root, self_test, start
from tests.support.chats import last_chat
from tests.support.terminal import Terminal, needs_tmux

pytestmark = pytest.mark.model

QUICK = ("ask", "--temperature", "0", "--max-tokens", "8")


@pytest.fixture(params=["folder", "single"])
def stick(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Path:
    """The program in a folder of this test, in either form."""
    if request.param == "folder":
        return bundle.folder_copy(tmp_path / "stick")
    return bundle.single_copy(tmp_path / "stick" / "edgechat")


def history(home: Path) -> Path:
    return home / ".local" / "share" / "edgechat" / "history.db"


def settings(stick: Path, text: str) -> None:
    (stick.parent / "edgechat.toml").write_text(text, encoding="utf-8")


def test_the_devices_settings_are_read_first_and_locked_ones_stay(stick: Path, home: Path) -> None:
    settings(stick, 'system = "You help a crew."\ntemperature = 0.0\nlocked = ["system"]\n')
    ended = start([stick, *QUICK, "Hi"], device(home, EDGECHAT_SYSTEM="Be rude."))
    assert ended.returncode == 0, ended.stderr
    assert last_chat(history(home)).system == "You help a crew."
    refused = start([stick, *QUICK, "--system", "Be rude.", "Hi"], device(home))
    assert refused.returncode == 2
    assert "locked" in refused.stderr
    assert str(stick.parent / "edgechat.toml") in refused.stderr


def test_variables_and_the_users_own_file_come_after(stick: Path, home: Path) -> None:
    settings(stick, 'system = "You help a crew."\n')
    own = home / ".config" / "edgechat"
    own.mkdir(parents=True)
    (own / "config.toml").write_text('system = "You are mine."\n')
    assert start([stick, *QUICK, "Hi"], device(home)).returncode == 0
    assert last_chat(history(home)).system == "You are mine."


def test_without_history_nothing_is_kept(stick: Path, home: Path) -> None:
    settings(stick, 'history = false\nlocked = ["history"]\n')
    ended = start([stick, *QUICK, "Hi"], device(home))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    assert not list(home.rglob("*.db*"))


@needs_tmux
def test_a_chat_without_history_says_so(stick: Path, home: Path) -> None:
    settings(stick, "history = false\n")
    with Terminal([str(stick)], environment=device(home), cwd=home) as terminal:
        terminal.wait_for("not kept")
        terminal.wait_for("ready")
        terminal.press("Hello", "Enter")
        terminal.wait_for("tok/s")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    assert not list(home.rglob("*.db*"))


def test_settings_that_cannot_be_used_are_told(stick: Path, home: Path) -> None:
    settings(stick, "temperature = 'hot'\n")
    ended = start([stick, *QUICK, "Hi"], device(home))
    assert ended.returncode == 2
    assert "edgechat.toml" in ended.stderr
    assert "temperature" in ended.stderr


def test_another_model_beside_the_binary_takes_over(stick: Path, home: Path, tiny_phi3: Path) -> None:
    model = stick.parent / "model"
    if model.exists():
        shutil.rmtree(model)
    shutil.copytree(tiny_phi3, model)
    card = start([stick, "models", "show", "--json"], device(home))
    assert json.loads(card.stdout)["architecture"] == "phi3"
    assert json.loads(card.stdout)["folder"] == str(model)


def test_a_model_named_by_the_device(stick: Path, home: Path, tiny_llama: Path) -> None:
    shutil.copytree(tiny_llama, stick.parent / "small one")
    settings(stick, 'model_uri = "./small one"\n')
    told = json.loads(start([stick, "--self-test"], device(home)).stdout)
    assert told["model"]["folder"] == str(stick.parent / "small one")


def test_a_damaged_model_beside_the_binary_is_told(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    program = bundle.folder_copy(tmp_path / "stick")
    weights = program.parent / "model" / "model" / "model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.unlink()  # a hard link: the bundle keeps its own
    weights.write_bytes(data)
    ended = start([program, "--self-test"], device(home))
    assert ended.returncode == 3
    told = json.loads(ended.stdout)
    assert (told["ok"], told["step"]) == (False, "model")
    assert "model.onnx.data" in told["error"]["message"]


def test_no_model_at_all_is_told(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    program = bundle.folder_copy(tmp_path / "stick")
    shutil.rmtree(program.parent / "model")
    ended = start([program, *QUICK, "Hi"], device(home))
    assert ended.returncode == 3
    assert "No model installed" in ended.stderr
    assert "`model`" in ended.stderr


class TestSelfTest:
    """One line of JSON and an exit code."""

    def test_what_it_tells(self, bundle: Bundle, home: Path) -> None:
        told = self_test([bundle.program], device(home))
        assert told["packaged"]
        assert told["reply"]["tokens"] > 0
        assert told["offline"] == {"sockets": [], "opted_out": True}
        assert told["history"]["written"]
        # Nothing stays but the note that the model was verified, and an empty log.
        assert not list(home.rglob("*.db*"))

    def test_the_users_chats_are_left_alone(self, bundle: Bundle, home: Path) -> None:
        assert start([bundle.program, *QUICK, "Hi"], device(home)).returncode == 0
        before = last_chat(history(home))
        assert self_test([bundle.program], device(home))["history"]["own"]
        assert last_chat(history(home)) == before

    @pytest.mark.parametrize(
        ("prepare", "code", "step"),
        [
            (lambda home: {"EDGECHAT_TEMPERATURE": "hot"}, 2, "settings"),
            (lambda home: {"EDGECHAT_MODEL_URI": "./nowhere"}, 3, "model"),
            (lambda home: {"EDGECHAT_HOME": "/proc/nowhere"}, 5, "history"),
        ],
    )
    def test_what_fails_is_named(
        self, bundle: Bundle, home: Path, prepare: Callable[[Path], dict[str, str]], code: int, step: str
    ) -> None:
        ended = start([bundle.program, "--self-test"], device(home, **prepare(home)))
        assert ended.returncode == code, ended.stdout + ended.stderr
        told = json.loads(ended.stdout)
        assert (told["ok"], told["step"]) == (False, step)
        assert told["error"]["title"]


def test_an_older_binary_refuses_a_newer_history(bundle: Bundle, home: Path) -> None:
    assert start([bundle.program, *QUICK, "Hi"], device(home)).returncode == 0
    file = history(home)
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE something_new (id)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = file.read_bytes()
    for command, code in (["--self-test"], 5), ([*QUICK, "Hi again"], 0), (["chats", "list"], 5):
        ended = start([bundle.program, *command], device(home))
        assert ended.returncode == code  # nobody is kept from chatting, and told that nothing is kept
        assert "newer edgechat" in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
    assert file.read_bytes() == before


def test_an_update_goes_on_with_the_history_of_before(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    """The file is replaced by another; what the old one wrote is there for the new one."""
    old = bundle.single_copy(tmp_path / "stick" / "edgechat")
    assert start([old, *QUICK, "Hi"], device(home)).returncode == 0
    old.unlink()
    shutil.copy(bundle.single, old)
    os.utime(old)
    assert start([old, *QUICK, "Hi again"], device(home)).returncode == 0
    store = HistoryStore.open(history(home))
    assert [chat.title for chat in store.list_conversations()] == ["Hi again", "Hi"]
    store.close()


def test_a_variable_does_not_lift_the_devices_locks(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    program = bundle.folder_copy(tmp_path / "stick")
    settings(program, 'history = false\nlocked = ["history"]\n')
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "edgechat.toml").write_text("")
    lifted = device(home, EDGECHAT_BINARY=str(tmp_path / "elsewhere" / "x"), EDGECHAT_HISTORY="true")
    assert start([program, *QUICK, "Hi"], lifted).returncode == 0
    assert not list(home.rglob("*.db*"))


def test_a_folder_that_only_is_called_model_is_passed_over(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    single = bundle.single_copy(tmp_path / "downloads" / "edgechat")
    (single.parent / "model").mkdir()
    (single.parent / "model" / "notes.txt").write_text("trains")
    assert self_test([single], device(home))["model"]["name"] == "smollm2-135m-instruct"


@needs_root
def test_settings_that_another_user_has_put_there_are_passed_over(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    single = bundle.single_copy(tmp_path / "shared" / "edgechat")
    settings(single, 'system = "Planted."\n')
    os.chown(single.parent / "edgechat.toml", 65534, 65534)
    assert start([single, *QUICK, "Hi"], device(home)).returncode == 0
    assert last_chat(history(home)).system != "Planted."


def test_the_self_test_of_a_device_that_keeps_nothing(bundle: Bundle, home: Path, tmp_path: Path) -> None:
    program = bundle.folder_copy(tmp_path / "stick")
    settings(program, "history = false\n")
    assert self_test([program], device(home))["history"] == {"kept": False}


def test_the_self_test_keeps_nothing_where_the_command_line_says_so(bundle: Bundle, home: Path) -> None:
    assert self_test([bundle.program, "--no-history"], device(home))["history"] == {"kept": False}
