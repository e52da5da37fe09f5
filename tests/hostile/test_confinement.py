"""The worker is confined: a model that makes a library do anything but compute is stopped by the operating system."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgechat.chat.conversation import Message
from edgechat.engine.protocol import Request, Sampling, TextDelta
from edgechat.engine.worker import protocol
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.runtime import paths, sandbox, seccomp
from tests.hostile.attacks import ATTACKS, NEEDED
from tests.hostile.conftest import Campaign, sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has Landlock and seccomp")


@pytest.fixture
def places(own_home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home with secrets, a model with a link to one, sockets that listen, and a process to be attacked."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in (".ssh/id_rsa", ".bashrc", "a", "c"):
        (home / name).write_text("secret")
    for name in ("model", "other"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "genai_config.json").write_text("{}")
    (tmp_path / "models" / "model" / "notes.txt").symlink_to(home / ".ssh" / "id_rsa")
    for name in ("data/history.db", "config/config.toml"):
        (own_home / name).parent.mkdir(parents=True)
        (own_home / name).write_text("secret")
    (tmp_path / "cwd").mkdir()
    victim = subprocess.Popen(["sleep", "300"])
    memory = ctypes.create_string_buffer(b"secret")
    abstract = f"edgechat-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as nameless,
    ):
        named.bind(str(tmp_path / "socket"))
        nameless.bind("\0" + abstract)
        named.listen()
        nameless.listen()
        yield {
            "home": str(home),
            "model": str(tmp_path / "models" / "model"),
            "other": str(tmp_path / "models" / "other"),
            "history": str(own_home / "data/history.db"),
            "settings": str(own_home / "config/config.toml"),
            "unix": str(tmp_path / "socket"),
            "abstract": abstract,
            "port": str(server.getsockname()[1]),
            "victim": str(victim.pid),
            "address": str(ctypes.addressof(memory)),
            "cwd": str(tmp_path / "cwd"),
        }
    victim.kill()
    victim.wait()


def attacked(
    places: dict[str, str],
    *,
    only: list[str] | None = None,
    preexec: Callable[[], None] | None = None,
    prefix: tuple[str, ...] = (),
    **variables: str,
) -> dict[str, str]:
    """Start a worker whose model attacks, and return what came of each attack."""
    environment = {**os.environ, "ATTACK_PLACES": json.dumps(places), "HOME": places["home"]}
    environment |= {"ATTACK_ONLY": ",".join(only)} if only is not None else {}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    parent = [] if prefix else [str(os.getpid())]
    load = protocol.CommandLine(1, protocol.Load(places["model"], "evil"))
    ended = subprocess.run(
        [*prefix, sys.executable, "-P", "-m", "tests.hostile.attacks", *parent],
        input=protocol.encode(load),
        env=environment,
        cwd=places["cwd"],
        capture_output=True,
        check=False,
        timeout=120,
        preexec_fn=preexec,
    )
    answers = [protocol.decode_answer(line).body for line in ended.stdout.splitlines()]
    failures = [one for one in answers if isinstance(one, protocol.Failure)]
    assert failures, ended.stderr.decode()
    told: dict[str, str] = json.loads(failures[0].error().message)
    told["log"] = ended.stderr.decode()
    return told


def not_stopped(told: dict[str, str]) -> list[str]:
    return [name for name, result in told.items() if name in ATTACKS and not result.startswith("stopped")]


def not_possible(told: dict[str, str]) -> list[str]:
    return [f"{name}: {told[name]}" for name in NEEDED if told[name] != "done"]


def test_each_attack_is_stopped_and_the_work_goes_on(
    places: dict[str, str], campaign: Callable[[str, str], Campaign]
) -> None:
    before = {path: path.lstat() for path in Path(places["home"]).parent.rglob("*")}
    told = attacked(places)
    fight = campaign("A", "a model in the worker that writes, reads, connects, runs and signals")
    for number, name in enumerate(ATTACKS):
        fight.note(number, None if told[name].startswith("stopped") else f"{name}: {told[name]}")
    fight.judge()
    assert not_possible(told) == []
    assert "confined by: Landlock ABI" in told["log"]
    assert "+ seccomp" in told["log"]
    after = {path: path.lstat() for path in Path(places["home"]).parent.rglob("*")}
    assert {path: (one.st_mode, one.st_mtime, one.st_size) for path, one in after.items()} == {
        path: (one.st_mode, one.st_mtime, one.st_size) for path, one in before.items()
    }


HARMLESS_ANYWHERE = {
    # What this machine or its kernel refuses to anybody, or cannot be undone in a test.
    "become_program",
    "socket_by_short_pointers",
    "watch_performance",
    "keyring",
    "new_user_namespace",
    "socket_by_io_uring",
    "trace_parent",
    "connect_tcp6",
    "clone_process",
    "clone3_process",
}


def test_without_confinement_the_attacks_succeed(places: dict[str, str]) -> None:
    """Else they would prove nothing."""
    told = attacked(places, BARE="1", only=[name for name in ATTACKS if name not in HARMLESS_ANYWHERE])
    stopped = {name: result for name, result in told.items() if name in ATTACKS and result != "done"}
    assert stopped == {}


# What a half of it holds alone

SECCOMP_CALL = 317 if os.uname().machine == "x86_64" else 277
PRCTL = 157 if os.uname().machine == "x86_64" else 167

LANDLOCK_ALONE = {"write_home", "append_home", "write_model", "read_key", "read_history", "read_other_model", "rename"}
SECCOMP_ALONE = {"write_home", "append_home", "write_model", "connect_tcp", "send_udp", "fork", "run_program", "rename"}


def refuse_calls(*numbers: int, error: int = 1) -> Callable[[], None]:
    """Refuse calls by number to a program that is going to be started, as the filter of a container does."""

    def refuse() -> None:
        lines = [seccomp._line(0x20, 0)]
        for number in numbers:
            lines += [seccomp._line(0x15, number, no=1), seccomp._line(0x06, 0x00050000 | error)]
        if SECCOMP_CALL in numbers:  # the older way to set a filter is an argument of prctl
            lines += [seccomp._line(0x15, PRCTL, no=3), seccomp._argument(0)]
            lines += [seccomp._line(0x15, 22, no=1), seccomp._line(0x06, 0x00050000 | error)]
        code = b"".join([*lines, seccomp._line(0x06, 0x7FFF0000)])
        buffer = ctypes.create_string_buffer(code, len(code))
        libc = ctypes.CDLL(None)
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        assert libc.prctl(22, 2, struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)), 0, 0) == 0

    return refuse


@pytest.mark.parametrize("error", [1, 38])
def test_a_container_without_landlock_leaves_seccomp(places: dict[str, str], error: int) -> None:
    told = attacked(places, only=sorted(SECCOMP_ALONE), preexec=refuse_calls(444, 445, 446, error=error))
    assert not_stopped(told) == []
    assert not_possible(told) == []
    assert "confined by: seccomp" in told["log"]
    assert "no Landlock" in told["log"]


def test_a_container_without_seccomp_leaves_landlock(places: dict[str, str]) -> None:
    told = attacked(places, only=sorted(LANDLOCK_ALONE), preexec=refuse_calls(SECCOMP_CALL))
    assert not_stopped(told) == []
    assert not_possible(told) == []
    assert "confined by: Landlock ABI" in told["log"]
    assert "no seccomp" in told["log"]


def test_without_either_the_worker_goes_on(places: dict[str, str]) -> None:
    told = attacked(places, only=["read_key"], preexec=refuse_calls(444, SECCOMP_CALL))
    assert told["read_key"] == "done"
    assert not_possible(told) == []
    assert "confined by: nothing" in told["log"]


@pytest.mark.parametrize("kind", ["-U", "-Ur"])
def test_a_user_without_rights_is_confined_too(places: dict[str, str], kind: str) -> None:
    """In a user namespace: as nobody, and as one who is root there and nobody outside."""
    told = attacked(places, only=["write_home", "read_key", "connect_tcp", "fork"], prefix=("unshare", kind))
    assert not_stopped(told) == []
    assert not_possible(told) == []
    assert "confined by: Landlock ABI" in told["log"]
    assert "+ seccomp" in told["log"]


def test_inside_another_confinement(places: dict[str, str]) -> None:
    told = attacked(places, only=["write_home", "read_key", "fork"], TWICE="1")
    assert not_stopped(told) == []
    assert not_possible(told) == []
    assert told["log"].count("confined by: Landlock ABI") == 1


def test_every_filter_is_one_the_kernel_takes() -> None:
    for machine in seccomp._MACHINES:
        code = seccomp.program(machine, 1)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096
        lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
        for number, (kind, yes, no, _value) in enumerate(lines):
            assert kind in (0x20, 0x15, 0x25, 0x45, 0x06)
            assert number + max(yes, no) < len(lines) - bool(kind != 0x06)
        assert lines[-1] == (0x06, 0, 0, 0x7FFF0000)


def test_random_calls_of_a_confined_process_touch_nothing(
    places: dict[str, str], campaign: Callable[[str, str], Campaign]
) -> None:
    """Calls by number with paths and random arguments: no file outside changes, and no other process ends."""
    fight = campaign("A", "random system calls from inside the confinement")
    home = Path(places["home"])
    before = {path: (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in home.rglob("*")}
    victim = int(places["victim"])
    for seed in sample(20, 2000):
        ended = subprocess.run(
            [sys.executable, "-P", "-c", RANDOM_CALLS, str(seed), str(home), str(victim)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=places["cwd"],
            capture_output=True,
            check=False,
            timeout=60,
        )
        after = {path: (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in home.rglob("*")}
        wrong = "a file was changed" if after != before else None
        try:
            os.kill(victim, 0)
        except ProcessLookupError:
            wrong = "a process was ended"
        if b"confined" not in ended.stdout:
            wrong = f"it was not confined: {ended.stderr[-300:]!r}"
        fight.note(seed, wrong)
    fight.judge()


RANDOM_CALLS = """
import ctypes, os, random, sys
from pathlib import Path
from edgechat.runtime.sandbox import confine
seed, home, victim = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)
names = [f"{home}/{name}".encode() + bytes(1) for name in (".bashrc", ".ssh/id_rsa", "new", "a", "c", ".ssh")]
buffers = [ctypes.create_string_buffer(name, 256) for name in names]
assert str(confine([])).endswith("seccomp")
sys.stdout.write("confined")
sys.stdout.flush()
libc = ctypes.CDLL(None)
# Calls that end or stop this process itself, or wait for ever, would only end the attack.
own = {15, 60, 231, 34, 35, 23, 7, 270, 271, 61, 247, 128, 130, 202, 0, 230, 219, 232, 281, 240, 243, 73, 449, 36, 3}
own |= {436, 11, 10, 25, 12, 13, 14, 9, 32, 33, 292, 453, 160, 302, 24, 72, 45, 47, 299, 43, 288, 458, 441, 68, 70}
arguments = [0, 1, -1, -100, victim, 9, 0o777, 0x42, 4096, 2, 17, *map(ctypes.addressof, buffers)]
for _ in range(400):
    number = chance.randrange(0, 480)
    if number not in own:
        libc.syscall(ctypes.c_long(number), *(ctypes.c_long(chance.choice(arguments)) for _ in range(6)))
os._exit(0)
"""


@pytest.mark.model
async def test_a_confined_model_writes_what_an_unconfined_one_does(
    default_genai: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confined, text = await reply_of(ModelSource(default_genai, "m"))
    assert confined.startswith("Landlock ABI ")
    assert confined.endswith(" + seccomp")
    code = "from edgechat.engine.worker import process; from edgechat.runtime import sandbox\n"
    code += "sandbox.confine = lambda _: sandbox.Confinement()\n"
    command = [sys.executable, "-P", "-c", code + "raise SystemExit(process.main())"]
    monkeypatch.setattr(paths, "own_command", lambda *_: command)
    assert await reply_of(ModelSource(default_genai, "m")) == ("", text)
    assert text


@pytest.mark.model
async def test_torch_is_confined_too(default_hf: Path) -> None:
    confined, text = await reply_of(ModelSource(default_hf, "m", "transformers"))
    assert confined.endswith(" + seccomp")
    assert text


async def reply_of(source: ModelSource) -> tuple[str, str]:
    """What confined a worker, and the text it wrote."""
    engine = EngineClient(source, EngineOptions(context=512))
    asked = Request((Message("user", "The capital of France is"),), Sampling(temperature=0), 16)
    try:
        info = await engine.start()
        text = "".join([event.text async for event in engine.stream(asked) if isinstance(event, TextDelta)])
    finally:
        await engine.aclose()
    return info.confinement, text


def test_an_option_that_writes_a_file_writes_none(tiny_phi3: Path, tmp_path: Path) -> None:
    """What was found first: statistics of onnxruntime's own, written wherever the model says."""
    evil = tmp_path / "evil"
    evil.mkdir()
    for path in tiny_phi3.iterdir():
        (evil / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "profile"
    config = json.loads((evil / "genai_config.json").read_text())
    options = config["model"]["decoder"].setdefault("session_options", {})
    options["session.collect_node_memory_stats_to_file"] = str(target)
    options["enable_profiling"] = str(tmp_path / "trace")
    (evil / "genai_config.json").write_text(json.dumps(config))
    load = protocol.CommandLine(1, protocol.Load(str(evil), "evil", 256))
    subprocess.run(
        [sys.executable, "-P", "-m", "edgechat", "_worker", str(os.getpid())],
        input=protocol.encode(load),
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert not list(tmp_path.glob("profile*"))
    assert not list(tmp_path.glob("trace*"))


def test_a_crash_is_still_a_signal_of_its_own(tmp_path: Path) -> None:
    code = "import os; from edgechat.runtime.sandbox import confine; confine([]); os.abort()"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ended.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_no_home_is_opened_by_a_path_that_leads_above_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libraries").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/", str(tmp_path / "libraries"), str(tmp_path.parent), *sys.path])
    found = set(sandbox.libraries())
    assert tmp_path / "libraries" in found
    assert found.isdisjoint({tmp_path, tmp_path.parent, Path("/")})
