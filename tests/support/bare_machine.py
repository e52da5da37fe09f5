"""A machine with next to nothing on it, for the packaged edgechat: a folder to chroot to.

It holds the C library, and a shell with the few tools the single file needs if they are asked for. There is no Python,
no network, no other user than nobody; everything but the home folder and /tmp is read-only.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

NOBODY = 65534
TOOLS = (
    *("sh", "cat", "chmod", "cut", "df", "dirname", "env", "find", "getconf", "gzip", "head", "id", "ls", "mkdir"),
    *(
        "mv",
        "printf",
        "readlink",
        "rm",
        "sed",
        "sha256sum",
        "sleep",
        "sync",
        "tail",
        "tar",
        "touch",
        "uname",
        "wc",
        "basename",
    ),
)
"""What the single file calls, at the most."""

SYSTEM = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "ld-linux", "libz.so")
"""What a packaged program may take from the system: the C library, and zlib for its loader. It brings all else."""

_LIBRARY = re.compile(r"(/\S+) \(0x")


class BareMachine:
    """A root folder; `command` runs a program in it.

    Attributes:
        root: The folder.
        home: The home folder of its user, seen from outside; on a tmpfs only while a command runs.
    """

    HOME = "/home/engineer"
    TEMPORARY = "/tmp"
    PLACE = "/media/ein Stick \u00fc \u05d0"
    """Where what is shared with it lies, seen from inside: with spaces, and letters of other scripts."""

    def __init__(self, root: Path, programs: Iterable[Path], *, tools: Iterable[str] = ()) -> None:
        """Make the folder.

        Args:
            root: Where; it must not exist.
            programs: The packaged files; they find SYSTEM here, and nothing else.
            tools: Programs to put in.
        """
        self.root = root
        for name in ("proc", "dev", self.TEMPORARY[1:], "bin", "etc", self.HOME[1:], self.PLACE[1:]):
            (root / name).mkdir(parents=True)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        found = [Path(shutil.which(tool) or "") for tool in tools]
        for tool in found:
            shutil.copy(tool, root / "bin" / tool.name)
        own = {path for path in _libraries(programs) if path.name.startswith(SYSTEM)}
        for library in own | _libraries(found):
            target = root / str(library)[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy(library.resolve(), target)

    def command(self, shared: Path, *command: str, environment: Iterable[str] = ()) -> list[str]:
        """The command line that runs a program in there, as nobody, without a network; for root.

        Args:
            shared: Outside folder that is seen at PLACE.
            *command: The program by its path inside, and its arguments.
            environment: `NAME=value`, beside HOME and PATH: all there is.
        """
        root = shlex.quote(str(self.root))
        variables = [f"HOME={self.HOME}", "PATH=/bin", *environment]
        script = f"""
set -e
mount --make-rprivate /
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount --bind {shlex.quote(str(shared))} {shlex.quote(str(self.root) + self.PLACE)}
mount -o remount,bind,ro {shlex.quote(str(self.root) + self.PLACE)}
mount -t tmpfs -o uid={NOBODY},gid={NOBODY},mode=700 tmpfs {root}{self.HOME}
mount -t tmpfs -o mode=1777 tmpfs {root}{self.TEMPORARY}
mount --rbind /dev {root}/dev
mount -o remount,bind,ro {root}
exec env -i {shlex.join(variables)} "$(command -v chroot)" --userspec={NOBODY}:{NOBODY} {root} "$@"
"""
        return ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", *command]


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The system's libraries that programs are linked with."""
    needed: set[Path] = set()
    for program in programs:
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        needed |= {Path(path) for path in _LIBRARY.findall(told)}
    return {path for path in needed if str(path).startswith(("/lib", "/usr/lib"))}
