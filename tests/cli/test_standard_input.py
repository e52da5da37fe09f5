"""What `edgechat ask` reads of its standard input: what is its own, as text, and nothing of anybody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgechat.cli import standard_input
from edgechat.cli.standard_input import LARGEST, piped_text
from edgechat.errors import ConfigError

READS = "from edgechat.cli.standard_input import piped_text; import sys; tell = lambda w: print(w, file=sys.stderr); "
COMMAND = f"{sys.executable} -c '{READS} print(ascii(piped_text(tell, question=True, use_stdin=WANTED)))'"


def shell(script: str, cwd: Path, wanted: bool | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script of a shell in which `ask` prints what would go along with a question."""
    (cwd / "ask").write_text(f"#!/bin/sh\nexec {COMMAND.replace('WANTED', str(wanted))}\n")
    (cwd / "ask").chmod(0o755)
    path = f"{cwd}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    (tmp_path / "questions.txt").write_text("Capital of France?\nCapital of Spain?\nCapital of Italy?\n")
    return tmp_path


def test_a_loop_over_a_file_keeps_its_lines(questions: Path) -> None:
    done = shell('while read -r q; do echo "$q"; ask; done < questions.txt', questions)
    assert done.stdout.splitlines() == [
        "Capital of France?",
        "''",
        "Capital of Spain?",
        "''",
        "Capital of Italy?",
        "''",
    ]
    assert done.stderr.count("--stdin reads the rest") == 2  # after the last line nothing is left


def test_a_loop_over_a_pipe_keeps_its_lines_when_told_to(questions: Path) -> None:
    done = shell("cat questions.txt | while read -r q; do ask; done", questions, wanted=False)
    assert done.stdout.splitlines() == ["''"] * 3
    assert done.stderr == ""


def test_a_pipe_that_the_loop_reads_too_is_told_of(questions: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("only Linux can tell")
    done = shell("cat questions.txt | while read -r q; do ask; done", questions)
    assert "--no-stdin" in done.stderr


@pytest.mark.parametrize("script", ["ask < questions.txt", "cat questions.txt | ask", 'ask <<< "$(cat questions.txt)"'])
def test_what_is_given_to_it_is_read(questions: Path, script: str) -> None:
    done = shell(script, questions)
    assert done.stdout == ascii((questions / "questions.txt").read_text()) + "\n"
    assert done.stderr == ""


def test_the_rest_of_a_file_is_read_when_asked_for(questions: Path) -> None:
    done = shell("{ read -r first; ask; } < questions.txt", questions, wanted=True)
    assert "Capital of Spain?\\nCapital of Italy?" in done.stdout


@pytest.mark.parametrize("script", ["ask", "ask < /dev/null", "ask < /dev/zero", "ask <&-"])
def test_what_holds_nothing_holds_nothing_up(tmp_path: Path, script: str) -> None:
    done = shell(script, tmp_path)
    assert done.stdout == "''\n"
    assert done.stderr == ""


def test_an_open_pipe_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(
        ["bash", "-c", COMMAND.replace("WANTED", "None")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "reading standard input" in process.stderr.readline()
    out, _err = process.communicate("late\n", timeout=60)
    assert out == "'late\\n'\n"


def test_a_pipe_that_nobody_waits_for_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    writer = subprocess.Popen(["sh", "-c", "sleep 0.3; echo words"], stdout=write)
    os.close(write)
    with os.fdopen(read) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert piped_text(print, question=False, use_stdin=None) == "words\n"
    writer.wait()


def told_of(data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, list[str]]:
    told: list[str] = []
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        return piped_text(told.append, question=True, use_stdin=None), told


PUMP = "Pump 3 error: Überdruck\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_unicode_is_read_in_every_form(encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert told_of(PUMP.encode(encoding), monkeypatch, tmp_path) == (PUMP, [])


def test_an_older_encoding_is_read_and_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda _do_setlocale=True: "UTF-8")
    text, told = told_of(PUMP.encode("cp1252"), monkeypatch, tmp_path)
    assert text == PUMP
    assert told == ["standard input is not UTF-8; it was read as Windows-1252"]


def test_a_few_wrong_bytes_are_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text, told = told_of("Überdruck, שלום ".encode() + b"\xff!", monkeypatch, tmp_path)
    assert text == "Überdruck, שלום \ufffd!"
    assert told == ["standard input has a place that was not UTF-8, and became \ufffd"]


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x7fELF\2\1\1\0" * 9, b"\xff\xfea", b"text with \0 in it!", b"\x80\x01\x02"],
)
def test_what_is_no_text_is_refused_in_words(data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not text") as caught:
        told_of(data, monkeypatch, tmp_path)
    assert "--no-stdin" in caught.value.hint


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(standard_input, "LARGEST", 1 << 20)
    assert LARGEST > 1 << 20
    with pytest.raises(ConfigError, match="too large"):
        told_of(b"y\n" * (1 << 20), monkeypatch, tmp_path)
