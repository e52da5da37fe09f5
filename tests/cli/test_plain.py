"""`edgechat --plain`: line after line, through pipes and on a terminal, with the real default model."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgechat.history.store import HistoryStore
from edgechat.runtime.paths import own_command

SCRIPTED = """
from edgechat.session import factory
from edgechat.engine.scripted import ScriptedEngine
factory.engine_for = lambda config: ScriptedEngine(delay=0.05)
from edgechat.cli.main import run
raise SystemExit(run(['--plain']))
"""
CHAT = [sys.executable, "-c", SCRIPTED]
"""The linear chat on the scripted engine; unlike with `--demo` the chat is kept."""


def piped(home: Path, lines: str, command: list[str] = CHAT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=lines,
        env={**os.environ, "EDGECHAT_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


class Typed:
    """The program on a terminal of its own."""

    def __init__(self, home: Path, command: list[str], **environment: str) -> None:
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.execvpe(command[0], command, {**os.environ, "EDGECHAT_HOME": str(home), "TERM": "xterm", **environment})
        self.shown = ""
        self._raw = b""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def send(self, data: bytes) -> None:
        """Type bytes, which the terminal takes as the program reads them."""
        while data:
            self.wait(lambda: bool(select.select([], [self._terminal], [], 0.1)[1]), "it takes nothing")
            data = data[os.write(self._terminal, data) :]
            while select.select([self._terminal], [], [], 0)[0]:
                self._take()

    def until(self, words: str, seconds: float = 60) -> None:
        """Wait for words after those that were waited for before."""
        self.wait(lambda: words in self.shown, f"{words!r} did not come", seconds)
        self.shown = self.shown[self.shown.index(words) + len(words) :]

    def wait(self, done: Callable[[], bool], complaint: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"{complaint}: {self.everything!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                assert self._take() or done(), f"{complaint} before the end: {self.everything!r}"

    def _take(self) -> bool:
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux says so when the program has gone
            data = b""
        self._raw += data
        self.shown += self._decode(data)
        return bool(data)

    @property
    def everything(self) -> str:
        return self._raw.decode(errors="replace")

    def end(self) -> int:
        end = time.monotonic() + 60
        while not select.select([self._terminal], [], [], 1)[0] or self._take():
            assert time.monotonic() < end, f"it did not end: {self.everything!r}"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._terminal)


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Callable[..., Typed]]:
    running: list[Typed] = []

    def start(command: list[str] = CHAT, home: Path = tmp_path / "home", **environment: str) -> Typed:
        running.append(Typed(home, command, **environment))
        return running[-1]

    yield start
    for one in running:
        one.close()


# Pipes


def test_a_whole_chat_through_pipes(tmp_path: Path) -> None:
    ended = piped(tmp_path, 'hello\n"""\ntwo\nlines"""\ngoes \\\non\n//slash\n/stats\n')
    assert ended.returncode == 0, ended.stderr
    for words in ("> hello\n", "> two\nlines\n", "> goes \non\n", "> /slash\n", "4 messages\n"):
        assert words in ended.stdout
    assert "scripted is ready" in ended.stderr
    assert "scripted is ready" not in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    store = HistoryStore.open(tmp_path / "data" / "history.db")
    chat = store.latest()
    store.close()
    assert chat is not None
    assert [turn.user for turn in chat.turns] == ["hello", "two\nlines", "goes \non", "/slash"]


def test_errors_are_lines_and_the_exit_code(tmp_path: Path) -> None:
    ended = piped(tmp_path, "/rgen\n/read absent.txt\nhello\n")
    assert "There is no command /rgen." in ended.stderr
    assert "Did you mean /regen?" in ended.stderr
    assert "Cannot attach absent.txt" in ended.stderr
    assert "> hello" in ended.stdout  # an error does not end the chat
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr


def test_a_file_is_read_into_the_next_message(tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").write_text("ONE\n")
    ended = piped(tmp_path, f"/read {tmp_path}/my notes.txt\nlook\nagain\n")
    assert "my notes.txt goes along with the next message: " in ended.stderr
    assert ended.stdout.count("my notes.txt\n```\nONE\n```") == 1


def test_an_export_is_nothing_but_the_chat(tmp_path: Path) -> None:
    ended = piped(tmp_path, "hello\n/export openai\n")
    assert ended.stdout.splitlines()[-1].startswith('{"messages":[')


def test_the_log_and_the_doctor(tmp_path: Path) -> None:
    ended = piped(tmp_path, "/doctor\n/log\n")
    assert str(tmp_path) in ended.stdout
    assert "Doctor" in ended.stderr
    assert ended.stderr.count("Error") == 0


def test_the_settings_can_ask_for_it(tmp_path: Path) -> None:
    assert "> hello" in piped(tmp_path, "hello\n", own_command("--demo"), EDGECHAT_PLAIN="1").stdout
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.toml").write_text("plain = true\n")
    assert "> hello" in piped(tmp_path, "hello\n", own_command("--demo")).stdout
    refused = piped(tmp_path, "hello\n", own_command("--demo"), EDGECHAT_PLAIN="0")
    assert refused.returncode == 2
    assert "edgechat --plain" in refused.stderr


def test_it_does_without_textual() -> None:
    code = "import sys, edgechat.cli.plain\nprint(*(n for n in sys.modules if n.split('.')[0] in ('textual', 'rich')))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""


def test_no_command_ends_the_chat(tmp_path: Path) -> None:
    ended = piped(tmp_path, f"/open {'9' * 5000}\n/open {'9' * 30}\n/set seed {'9' * 5000}\nhello\n")
    assert ended.stderr.count("/open needs the number of a chat") == 2
    assert "> hello" in ended.stdout


def patched(lines: str) -> list[str]:
    """The program with something changed in it."""
    return [sys.executable, "-c", f"{lines}\n{SCRIPTED}"]


def test_a_fault_in_a_command_does_not_end_the_chat(tmp_path: Path) -> None:
    faulty = "import edgechat.slash.handlers as runner\nrunner._DOERS['stats'] = lambda *_: {}['private']"
    ended = piped(tmp_path, "/stats\nhello\n", patched(faulty))
    assert "KeyError in the linear chat" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "private" not in ended.stderr
    assert "> hello" in ended.stdout
    assert ended.returncode != 0


def test_a_file_goes_along_once_though_the_reply_fails(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("ONE\n")
    failing = (
        "from functools import partialmethod\nfrom edgechat.engine.scripted import ScriptedEngine as E\n"
        "E.__init__ = partialmethod(E.__init__, fail_after=0)"
    )
    piped(tmp_path, f"/read {tmp_path}/notes.txt\nlook\nagain\n", patched(failing))
    store = HistoryStore.open(tmp_path / "data" / "history.db")
    chat = store.latest()
    store.close()
    assert chat is not None
    assert [turn.user for turn in chat.turns] == ["look\n\nnotes.txt\n```\nONE\n```", "again"]


# A terminal


SLOW_LOAD = (
    "from functools import partialmethod\nfrom edgechat.engine.scripted import ScriptedEngine as E\n"
    "E.__init__ = partialmethod(E.__init__, load_delay=600)"
)


def test_ctrl_c_ends_the_wait_for_the_model(typed: Callable[..., Typed]) -> None:
    chat = typed(patched(SLOW_LOAD))
    chat.until("Loading the model")
    chat.type("\x03")
    chat.until("The model is not ready.")
    chat.until("> ")
    chat.type("/chats\n")
    chat.until("There is no chat yet.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert "Traceback" not in chat.everything


def test_a_second_signal_does_not_disturb_the_end(typed: Callable[..., Typed]) -> None:
    late = (
        "import asyncio\nfrom edgechat.engine.scripted import ScriptedEngine as E\nended = E.aclose\n"
        "async def aclose(self):\n    print('ENDING', flush=True)\n    await asyncio.sleep(1)\n    await ended(self)\n"
        "E.aclose = aclose"
    )
    chat = typed(patched(late))
    chat.until("is ready.")
    chat.until("> ")
    os.kill(chat.pid, signal.SIGHUP)
    chat.until("ENDING")
    os.kill(chat.pid, signal.SIGTERM)
    assert chat.end() == 128 + signal.SIGHUP
    assert "Traceback" not in chat.everything


def test_a_terminal_sees_no_escape_sequence_but_that_of_pasting(typed: Callable[..., Typed]) -> None:
    chat = typed()
    chat.until("> ")
    chat.type("שלום 日本 😀\n")
    chat.until("no model is running.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert "שלום 日本 😀" in chat.everything
    assert "\x1b" not in chat.everything.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "")
    assert chat.everything.rfind("\x1b[?2004l") > chat.everything.rfind("\x1b[?2004h")  # as it was before


def test_what_every_message_begins_with_is_computed_ahead(typed: Callable[..., Typed]) -> None:
    chat = typed()
    chat.until("scripted is ready")
    for word in ("one", "two"):
        chat.type(f"{word}\n")
        chat.until("no model is running.")
    chat.type("/stats\n")
    chat.until("computed before")
    found = re.search(r"read: (\d+) tokens, (\d+) of them", chat.everything)
    assert found is not None
    # Of each message: itself, its end, and the beginning of the reply.
    assert int(found[1]) - int(found[2]) == 2 * 3


def test_completion_on_a_terminal(typed: Callable[..., Typed]) -> None:
    pytest.importorskip("readline")
    chat = typed()
    chat.until("> ")
    chat.type("/sta\t\n")
    chat.until("0 messages")
    chat.until("> ")
    chat.type("/quit\n")
    assert chat.end() == 0


def test_a_python_without_readline(typed: Callable[..., Typed]) -> None:
    code = (
        "import sys\nsys.modules['readline'] = None\n"
        "from edgechat.cli.main import run\nraise SystemExit(run(['--plain', '--demo']))"
    )
    chat = typed([sys.executable, "-c", code])
    chat.until("> ")
    chat.type("hello\n")
    chat.until("no model is running.")
    chat.type("\x04")
    assert chat.end() == 0


# Pastes

DOCSTRING = 'def area(r):\n    """Return the area."""\n    return 3.14159 * r * r\n\nprint(area(2))\n'
NO_READLINE = [sys.executable, "-c", f"import sys\nsys.modules['readline'] = None\n{SCRIPTED}"]


def sent(home: Path) -> list[str]:
    with closing(HistoryStore.open(home / "data" / "history.db")) as store:
        chat = store.latest()
    return [] if chat is None else [turn.user for turn in chat.turns]


@pytest.mark.parametrize("command", [CHAT, NO_READLINE], ids=["readline", "without"])
@pytest.mark.parametrize(
    "pasted",
    [
        DOCSTRING,
        DOCSTRING.removesuffix("\n"),
        '"""\nblock\nof three\n',
        "goes on \\\n/quit\n/forget\n",
        "\x1b[31mERROR\x1b[0m pump\n/quit\n\x1b[0mdone",
        "שלום\tעולם\n日本 😀\n",
    ],
)
def test_a_paste_is_one_message(typed: Callable[..., Typed], tmp_path: Path, command: list[str], pasted: str) -> None:
    chat = typed(command)
    chat.until("> ")
    chat.type(f"\x1b[200~{pasted}\x1b[201~")
    chat.until(pasted.rstrip("\n").rpartition("\n")[2].rpartition("m")[2])
    chat.type("\r")
    chat.until("no model is running.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert sent(tmp_path / "home") == [pasted.strip("\n")]
    assert "Traceback" not in chat.everything


def test_a_paste_in_the_middle_of_a_line_and_after_a_stop(typed: Callable[..., Typed], tmp_path: Path) -> None:
    pytest.importorskip("readline")
    chat = typed()
    chat.until("> ")
    chat.type("junk")
    chat.until("junk")  # else the prompt is shown, and Python does not wait for a key yet
    chat.type("\x03")  # Ctrl+C takes the line away
    chat.until("/quit leaves")
    chat.type("before \x1b[200~one\ntwo\x1b[201~ after\x1b[D\x1b[D\x1b[D\x1b[D\x1b[DX\r")
    chat.until("no model is running.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert sent(tmp_path / "home") == ["before one\ntwo Xafter"]


def test_a_long_paste_in_pieces(typed: Callable[..., Typed], tmp_path: Path) -> None:
    pytest.importorskip("readline")
    lines = [f"{n} " + "é" * 200 for n in range(60)]
    chat = typed()
    chat.until("> ")
    data = ("\x1b[200~" + "\n".join([*lines, "x" * 9000, "end of it"]) + "\x1b[201~").encode()
    for start in range(0, len(data), 999):  # within letters and within brackets
        chat.send(data[start : start + 999])
    chat.until("end of it")
    chat.type("\r")
    chat.until("no model is running.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert sent(tmp_path / "home") == ["\n".join([*lines, "x" * 9000, "end of it"])]


def test_bytes_that_are_not_utf_8_end_nothing(typed: Callable[..., Typed], tmp_path: Path) -> None:
    chat = typed()
    chat.until("> ")
    chat.send(b"caf\xe9 \x1b[200~\xff\nx\x1b[201~\r")
    chat.until("no model is running.")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert [text.count("\n") for text in sent(tmp_path / "home")] == [1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"])
def test_a_pipe_may_be_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    text = (
        "Pump 3: Überdruck\nzweite Zeile\r\nଊ \u0a0a\n"
        if encoding != "cp1252"
        else "Pump 3: Überdruck\nzweite Zeile\r\nü\n"
    )
    done = subprocess.run(
        CHAT,
        input=text.encode(encoding),
        env={**os.environ, "EDGECHAT_HOME": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert sent(tmp_path) == text.splitlines()


def test_a_dumb_terminal_gets_it_by_itself(typed: Callable[..., Typed]) -> None:
    chat = typed(own_command("--demo"), TERM="dumb")
    chat.until("--plain")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0


def test_a_signal_ends_it_and_keeps_the_reply(typed: Callable[..., Typed], tmp_path: Path) -> None:
    chat = typed()
    chat.until("> ")
    chat.type("hello\n")
    chat.until("You said")
    os.kill(chat.pid, signal.SIGTERM)
    assert chat.end() == 128 + signal.SIGTERM
    store = HistoryStore.open(tmp_path / "home" / "data" / "history.db")
    latest = store.latest()
    store.close()
    assert latest is not None
    assert latest.turns[0].reply is not None
    assert latest.turns[0].reply.state == "stopped"


@pytest.mark.model
def test_another_model_goes_on_with_the_chat(home_with_model: Path, tiny_llama: Path) -> None:
    other = home_with_model / "other model"
    other.symlink_to(tiny_llama)
    command = own_command("--plain")
    lines = f"/model\nhello\n/model absent\n/model {other}\nagain\n/stats\n"
    ended = piped(home_with_model, lines, command, EDGECHAT_MAX_TOKENS="5")
    assert "smollm2-135m-instruct is ready" in ended.stderr
    assert "The chat goes on with" in ended.stderr, ended.stderr
    assert ended.stdout.count("2 messages") == 1
    assert ended.returncode == 3  # the model that is not there


@pytest.mark.model
def test_ctrl_c_stops_the_reply_of_the_real_model(typed: Callable[..., Typed], home_with_model: Path) -> None:
    chat = typed(own_command("--plain"), home_with_model)
    chat.until("is ready. Its context holds")
    chat.until("> ")
    chat.type("Write a very long story about the sea.\n")
    chat.wait(lambda: bool(re.search(r"sea\.[\r\n]+(?:\x1b\[\?2004[hl]|[\r\n])*\S+ \S+", chat.shown)), "no reply came")
    chat.type("\x03")
    chat.until("The reply was stopped.")
    chat.until("> ")
    chat.type("\x03")
    chat.until("Ctrl+D or /quit leaves.")
    chat.until("> ")
    chat.type("/stats\n")
    chat.until("smollm2-135m-instruct")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0
    assert "\x1b" not in chat.everything.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "")
    assert chat.everything.rfind("\x1b[?2004l") > chat.everything.rfind("\x1b[?2004h")  # as it was before
