"""Sandboxes the process that opens a model, so that whatever a model makes a library do stays contained.

Model files are parsed by a million lines of C++ and Rust that were not written with attackers in mind. So before
reading the first byte of a model the worker gives up what it will never need: reading anything but that model and the
libraries, writing anywhere, the network, other programs, other processes. `runtime.landlock` and `runtime.seccomp` each
do what they can; either one stops most of it, and on a system with neither the worker runs unconfined. Nothing here may
prevent chatting.

Only the worker is sandboxed. MLflow's `predict` loads a model in the caller's own process, which is not edgechat's to
restrict, and converting a GGUF file has to write.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgechat.runtime import landlock, seccomp

LOG_BYTES = 16 * 1024 * 1024
"""Bytes a sandboxed process may write to its log, its only writable file."""

_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
)
"""System libraries, and files the C library reads."""

_MACHINE = (
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/self",
    "/proc/sys/kernel/random",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
)
"""Files libraries read about the processor and memory."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What restricts a process.

    Attributes:
        landlock: Landlock's ABI version; 0 if unavailable.
        seccomp: Whether system calls are filtered.
        missing: Why either is unavailable, for the log.
    """

    landlock: int = 0
    seccomp: bool = False
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Such as "Landlock ABI 7 + seccomp"; empty if nothing applies."""
        parts = [f"Landlock ABI {self.landlock}"] if self.landlock else []
        return " + ".join([*parts, *(["seccomp"] if self.seccomp else [])])


def confine(readable: Iterable[Path]) -> Confinement:
    """Restrict this process permanently. Call while it has a single thread: Landlock applies to threads started later.

    Args:
        readable: Resolved paths that may be read besides the libraries.
    """
    if sys.platform != "linux":
        return Confinement(missing=(f"{sys.platform} has no confinement that a process can ask for",))
    missing: list[str] = []
    version, filtered = 0, False
    _forbid_files()
    try:
        version = landlock.restrict([*readable, *libraries(), *map(Path, _MACHINE)])
    except (OSError, AttributeError) as error:
        missing.append(f"no Landlock: {_describe(error)}")
    try:
        seccomp.restrict()
        filtered = True
    except (OSError, AttributeError) as error:
        missing.append(f"no seccomp: {_describe(error)}")
    return Confinement(version, filtered, tuple(missing))


def _describe(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def report() -> int:
    """Sandbox this process, try what must now be impossible, and print the results as JSON.

    This is `edgechat _confinement`, which `edgechat doctor` runs, since a kernel may not enforce what it promises.
    """
    confinement = confine(())
    missing = list(confinement.missing)
    if confinement.landlock or confinement.seccomp:
        with suppress(OSError), Path(os.devnull).open("wb"):
            missing.append("a file could be written all the same")
    if confinement.seccomp:
        import socket

        with suppress(OSError), socket.socket():
            missing.append("a socket could be made all the same")
    sys.stdout.write(json.dumps({"confinement": str(confinement), "missing": missing}) + "\n")
    return 0


def _forbid_files() -> None:
    """Limit the log, and disable core dumps, which would contain the chat."""
    import resource

    sys.dont_write_bytecode = True
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LOG_BYTES)):
        _soft, hard = resource.getrlimit(limit)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (bound, bound))


def libraries() -> Iterator[Path]:
    """Yield the locations of this program, its interpreter and their libraries."""
    yield from map(Path, _SYSTEM)
    bundled = getattr(sys, "_MEIPASS", None)
    if bundled is not None:
        yield Path(bundled).resolve()
        yield Path(sys.executable)
        # Kept open, so that it remains readable after a disk cleaner has removed it.
        archive = getattr(getattr(sys.modules.get("pyimod02_importers"), "pyz_archive", None), "_filename", None)
        if archive is not None:
            yield Path(archive)
        return
    own = Path(__file__).resolve().parents[1]
    yield own
    private = _private()
    prefixes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    places = [Path(os.__file__).parent, *(prefix / name for prefix in prefixes for name in ("lib", "lib64"))]
    places += [Path(entry) for entry in sys.path if entry]
    places += [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    for place in dict.fromkeys(places):
        folder = place.resolve()
        # A checkout is on the path with everything in it; only the package is needed.
        if folder == own.parent and folder.name not in ("site-packages", "dist-packages"):
            continue
        if not any(one.is_relative_to(folder) for one in private):
            yield folder


def _private() -> tuple[Path, ...]:
    """Return folders that no entry of a path may expose as a whole, however it got there."""
    home = os.path.expanduser("~")  # noqa: PTH111 - which never fails
    homes = [] if home == "~" else [home, f"{home}/.local/share"]
    return tuple(Path(one).resolve() for one in (*homes, os.environ.get("EDGECHAT_HOME", "")) if one)
