"""What a hostile model would have its libraries do, each as one function; it raises OSError where it is stopped.

`python -m tests.hostile.attacks PARENT` is a worker whose model does all of it when it is loaded, and answers with what
came of it. With BARE in the environment nothing confines it: an attack that cannot succeed then proves nothing.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from edgechat.errors import EngineError

X86 = platform.machine() == "x86_64"
PLACES: dict[str, str] = json.loads(os.environ.get("ATTACK_PLACES", "{}"))
PARENT = os.getppid()


def place(name: str) -> Path:
    return Path(PLACES[name])


def syscall(x86: int, generic: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    longs = [one if isinstance(one, bytes) or one is None else ctypes.c_long(one) for one in arguments]
    result = int(libc.syscall(ctypes.c_long(x86 if X86 else generic), *longs))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# Writing


def write_home() -> None:
    (place("home") / ".profile").write_text("evil")


def append_home() -> None:
    with (place("home") / ".bashrc").open("a") as file:
        file.write("evil")


def write_working_directory() -> None:
    Path("evil").write_text("evil")


def write_tmp() -> None:
    (Path("/tmp") / f"evil-{os.getpid()}").write_text("evil")
    (Path("/tmp") / f"evil-{os.getpid()}").unlink()


def write_shared_memory() -> None:
    (Path("/dev/shm") / f"evil-{os.getpid()}").write_text("evil")
    (Path("/dev/shm") / f"evil-{os.getpid()}").unlink()


def write_model() -> None:
    (place("model") / "evil.onnx").write_text("evil")


def change_model() -> None:
    with (place("model") / "genai_config.json").open("r+b") as file:
        file.write(b" ")


def write_history() -> None:
    with place("history").open("r+b") as file:
        file.write(b"evil")


def truncate() -> None:
    os.truncate(place("home") / ".bashrc", 0)


def temporary_file_without_a_name() -> None:
    os.close(os.open(place("home"), os.O_TMPFILE | os.O_RDWR, 0o600))


def create_by_openat2() -> None:
    how = struct.pack("=3Q", os.O_CREAT | os.O_WRONLY, 0o600, 0)
    os.close(syscall(437, 437, -100, bytes(place("home") / "evil2"), how, len(how)))


def rename() -> None:
    (place("home") / "a").rename(place("home") / "b")


def remove() -> None:
    (place("home") / "c").unlink()


def make_folder() -> None:
    (place("home") / "folder").mkdir()


def make_link() -> None:
    (place("home") / "link").symlink_to("/")


def make_hard_link() -> None:
    (place("home") / "hard").hardlink_to(place("home") / ".bashrc")


def make_fifo() -> None:
    os.mkfifo(place("home") / "fifo")


def change_mode() -> None:
    (place("home") / ".ssh").chmod(0o777)


def change_mode_of_model() -> None:
    (place("model") / "genai_config.json").chmod(0o777)


def change_times() -> None:
    os.utime(place("home") / ".bashrc", (0, 0))


def change_owner() -> None:
    os.chown(place("home") / ".bashrc", os.getuid(), os.getgid())


# Reading


def read_key() -> None:
    (place("home") / ".ssh" / "id_rsa").read_bytes()


def list_home() -> None:
    list(place("home").iterdir())


def read_history() -> None:
    place("history").read_bytes()


def read_settings() -> None:
    place("settings").read_bytes()


def read_other_model() -> None:
    (place("other") / "genai_config.json").read_bytes()


def read_by_climbing() -> None:
    (place("model") / ".." / "other" / "genai_config.json").read_bytes()


def read_by_link_in_the_model() -> None:
    (place("model") / "notes.txt").read_bytes()


def read_by_root_of_proc() -> None:
    Path(f"/proc/self/root{place('home')}/.ssh/id_rsa").read_bytes()


def read_by_working_directory_of_proc() -> None:
    list(Path("/proc/self/cwd/.").iterdir())


def read_environment_of_parent() -> None:
    Path(f"/proc/{PARENT}/environ").read_bytes()


def read_memory_of_parent() -> None:
    Path(f"/proc/{PARENT}/mem").open("rb").close()


def read_command_of_parent() -> None:
    Path(f"/proc/{PARENT}/cmdline").read_bytes()


def read_system_settings() -> None:
    Path("/etc/passwd").read_bytes()


def open_device() -> None:
    os.close(os.open("/dev/full", os.O_RDONLY))


# The network


def connect_tcp() -> None:
    with socket.create_connection(("127.0.0.1", int(PLACES["port"])), timeout=5):
        pass


def connect_tcp6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
        one.bind(("::1", 0))


def send_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"evil", ("127.0.0.1", int(PLACES["port"])))


def listen_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def connect_unix() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(PLACES["unix"])


def connect_abstract() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + PLACES["abstract"])


def ask_kernel_for_addresses() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def socket_by_io_uring() -> None:
    os.close(syscall(425, 425, 4, bytes(120)))


def socket_by_short_pointers() -> None:
    if not X86:
        raise OSError(errno.ENOSYS, "another processor")
    os.close(syscall(0x40000000 + 41, 0, 2, 1, 0))


# Programs and processes


def run_program() -> None:
    if os.spawnv(os.P_WAIT, "/bin/true", ["true"]):
        raise OSError(errno.EPERM, "it did not run")


def run_program_quickly() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)


def run_shell() -> None:
    if ctypes.CDLL(None).system(b"true"):
        raise OSError(errno.EPERM, "it did not run")


def become_program() -> None:
    os.execv("/nonexistent" if PLACES.get("bare") else "/bin/true", ["true"])


def fork() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def clone_process() -> None:
    pid = syscall(56, 220, signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def clone3_process() -> None:
    arguments = struct.pack("=8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    pid = syscall(435, 435, arguments, len(arguments))
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def trace_parent() -> None:
    seize = 0x4206
    syscall(101, 117, seize, int(PLACES["victim"]), 0, 0)
    syscall(101, 117, 0x4207, int(PLACES["victim"]), 0, 0)  # interrupt
    os.waitpid(int(PLACES["victim"]), 0x40000000)
    syscall(101, 117, 17, int(PLACES["victim"]), 0, 0)  # let go


def read_memory_of_others() -> None:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("=QQ", int(PLACES["address"]), 8)
    syscall(310, 270, PARENT, local, 1, remote, 1, 0)


def signal_parent() -> None:
    os.kill(PARENT, 0)


def signal_group() -> None:
    os.kill(0, 0)


def signal_everybody() -> None:
    os.kill(int(PLACES["victim"]), signal.SIGCONT)


def signal_by_descriptor() -> None:
    descriptor = os.pidfd_open(PARENT)
    signal.pidfd_send_signal(descriptor, 0)
    os.close(descriptor)


def limit_parent() -> None:
    import resource

    resource.prlimit(PARENT, resource.RLIMIT_NOFILE)


def outlive_parent() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(1, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "refused")


def leave_session() -> None:
    os.setpgid(0, 0)


# The kernel


def new_user_namespace() -> None:
    syscall(272, 97, 0x10000000)


def watch_performance() -> None:
    os.close(syscall(298, 241, struct.pack("=II", 1, 128) + bytes(120), 0, -1, -1, 0))


def keyring() -> None:
    syscall(250, 219, 0, -3, 1)


def shared_segment() -> None:
    number = syscall(29, 194, 0, 4096, 0o1600)
    syscall(31, 195, number, 0, None)


def watch_files() -> None:
    os.close(syscall(294, 26, 0))


ATTACKS: dict[str, Callable[[], None]] = {
    name: one
    for name, one in globals().items()
    if isinstance(one, types.FunctionType) and one.__module__ == __name__ and name not in ("place", "syscall")
}

NEEDED: dict[str, Callable[[], object]] = {
    "read its own files": lambda: Path(PLACES["model"], "genai_config.json").read_bytes(),
    "list its own folder": lambda: list(place("model").iterdir()),
    "start threads": lambda: threading.Thread(target=int).start(),
    "import more": lambda: __import__("wsgiref.util"),
    "map code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "ask for memory": lambda: Path("/proc/meminfo").read_bytes(),
    "ask for groups": lambda: Path("/proc/self/cgroup").read_bytes(),
    "random numbers": lambda: os.urandom(8),
    "signal itself": lambda: os.kill(os.getpid(), 0),
}
"""What has to go on."""


def came_of(what: Callable[[], object]) -> str:
    try:
        what()
    except OSError as error:
        return f"stopped: {errno.errorcode.get(error.errno or 0, '?')}"
    except Exception as error:
        return f"failed: {error!r}"
    return "done"


def attack(*_: object, **__: object) -> NoReturn:
    names = os.environ.get("ATTACK_ONLY", "").split(",") if "ATTACK_ONLY" in os.environ else list(ATTACKS)
    told = {name: came_of(ATTACKS[name]) for name in names}
    told |= {name: came_of(one) for name, one in NEEDED.items()}
    raise EngineError("Attacked", json.dumps(told))


def main() -> None:
    model = types.ModuleType("edgechat.engine.genai")
    model.GenaiModel = attack  # type: ignore[attr-defined]
    sys.modules["edgechat.engine.genai"] = model
    from edgechat.engine.worker import process
    from edgechat.runtime import landlock, sandbox

    if "TWICE" in os.environ:
        landlock.restrict([Path("/")])
    if "BARE" in os.environ:
        sandbox.confine = lambda readable: sandbox.Confinement()
    raise SystemExit(process.main(*sys.argv[1:]))


if __name__ == "__main__":
    sys.modules["tests.hostile.attacks"] = sys.modules[__name__]
    main()
