"""Where edgechat stores its files, and how to start itself again.

Every file edgechat writes is below one of four folders, created with mode 0700. `EDGECHAT_HOME` puts all four below one
folder (a USB stick, a test); a user without a home folder gets a temporary one. Models are stored with the data rather
than the caches: on a device without a network, a model removed by a disk cleaner could not be downloaded again.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from platformdirs import PlatformDirs

from edgechat.errors import EdgechatError, StorageError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.file_ownership import require_own

APP = "edgechat"

SINGLE_FILE = "EDGECHAT_BINARY"
"""Variable holding the path of the single-file form; what runs is the copy it unpacked elsewhere."""

UNPACKED = ".whole"
"""Marker file showing that the single file was unpacked completely."""


def expand_user(path: Path) -> Path:
    """Expand ~ in a path; unchanged if the system does not know the user, so that it does not exist."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _folder(kind: str) -> Path:
    home = os.environ.get("EDGECHAT_HOME")
    try:
        if home:
            folder = Path(home).expanduser().absolute()
            _require_own(folder)
            return folder / kind
    except RuntimeError as error:  # ~ of a user unknown to the system
        raise StorageError(
            "No home folder",
            f"{error}.".replace("..", "."),
            "Set EDGECHAT_HOME to a folder for edgechat's files.",
        ) from error
    temporary = temporary_home()
    if temporary is not None:
        return temporary / kind
    own: Path = getattr(PlatformDirs(APP, appauthor=False), f"user_{kind}_path")
    return own


_require_own = cache(require_own)


def temporary_home() -> Path | None:
    """Return the folder that replaces a missing home, as on a device that runs edgechat as a bare user.

    It is private and outlives the program, but perhaps not a reboot. None if there is a home, or EDGECHAT_HOME.

    Raises:
        StorageError: It is needed, but a folder of that name belongs to someone else.
    """
    if os.environ.get("EDGECHAT_HOME") or os.name != "posix":
        return None
    try:
        if Path.home().is_dir():
            return None
    except RuntimeError:
        pass  # no HOME, and a user unknown to the system
    import tempfile  # slow, and only needed without a home

    folder = Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StorageError(
            "No home folder",
            Sentence("{folder}: {strerror}.", folder=folder, strerror=error.strerror or error),
            "Set EDGECHAT_HOME to a folder you can write to.",
        ) from error
    # In a world-writable folder anyone may have created a folder of that name.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(
            "No home folder",
            Sentence("{folder}, which would be used in its place, is not this user's alone.", folder=folder),
            "Set EDGECHAT_HOME to a folder for edgechat's files.",
        )
    _require_own(folder)
    return folder


def adjacent_folders() -> tuple[Path, ...]:
    """Return the folders where a packaged binary looks for files added by a device's owner; none elsewhere.

    The first is the binary's own folder, followed by the one the single-file form was unpacked to.
    """
    if not getattr(sys, "frozen", False):
        return ()
    own = Path(sys.executable).resolve().parent
    single = _single_file(own)
    return (single.parent, own) if single is not None else (own,)


def _single_file(own: Path) -> Path | None:
    # Trusted only if this was unpacked by a single file; otherwise the variable could bypass a device's own settings.
    single = os.environ.get(SINGLE_FILE)
    return Path(single) if single and (own / UNPACKED).is_file() else None


def require_trusted_adjacent(path: Path) -> None:
    """Refuse a file next to the packaged binary that someone else could have put there or could replace.

    The binary's owner is trusted as much as the system, since it is their program that runs.

    Raises:
        StorageError: Others control the file or a folder above it.
    """
    require_own(path, owners())


def owners() -> frozenset[int]:
    """Return the user ids that own the packaged binary, in either form; none elsewhere."""
    if not getattr(sys, "frozen", False):
        return frozenset()
    program = Path(sys.executable).resolve()
    found = set()
    for path in (program, _single_file(program.parent)):
        with suppress(OSError):
            if path is not None:
                found.add(path.stat().st_uid)
    return frozenset(found)


def config_dir() -> Path:
    """Folder for settings: `config.toml`."""
    return _folder("config")


def data_dir() -> Path:
    """Folder for what must not be lost: the chat history and the models."""
    return _folder("data")


def cache_dir() -> Path:
    """Folder for what can be recreated at any time."""
    return _folder("cache")


def state_dir() -> Path:
    """Folder for logs."""
    return _folder("state")


def models_dir() -> Path:
    """The model cache: one MLflow model folder per name."""
    return data_dir() / "models"


def history_path() -> Path:
    """The SQLite file that stores every chat."""
    return data_dir() / "history.db"


def log_path(name: str) -> Path:
    """Return the log file with this name (without suffix)."""
    return state_dir() / f"{name}.log"


def make_private(folder: Path) -> Path:
    """Create a folder and its missing parents, accessible only by the owner (0700).

    Returns:
        The same folder.

    Raises:
        StorageError: The folder cannot be created; the message names it and the cause.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):  # `parents=True` would apply the mode only to the last one
            parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            "Folder cannot be made",
            Sentence("{folder}: {strerror}.", folder=folder, strerror=error.strerror or error),
            "Free some space or make the folder writable, or set EDGECHAT_HOME to a folder that is.",
        ) from error
    return folder


def resource(name: str) -> Path:
    """Return a file shipped inside the package, whether a checkout, a wheel or a frozen binary."""
    bundled = getattr(sys, "_MEIPASS", None)
    if bundled is not None:
        return Path(bundled) / APP / name
    from importlib.resources import files  # slow, and not needed at startup

    return Path(str(files(APP).joinpath(name)))


def own_command(*arguments: str) -> list[str]:
    """Return the command line that starts this same edgechat again.

    A frozen binary is its own interpreter; otherwise the running Python runs the package. `-P` keeps the working
    directory off the module path, so that a folder with a stray `edgechat/` or `numpy/` in it has no effect.

    Raises:
        EdgechatError: See `interpreter`.
    """
    if getattr(sys, "frozen", False):
        return [interpreter(), *arguments]
    return [interpreter(), "-P", "-m", APP, *arguments]


def interpreter() -> str:
    """Return the running program: Python, or a frozen binary.

    Raises:
        EdgechatError: Python does not know its own path. It is not guessed: another Python has other packages.
    """
    if not sys.executable:
        raise EdgechatError(
            "Python cannot be found",
            "edgechat runs in processes of its own, and Python was started in a way that does not tell where it lies.",
            "Start edgechat by its full path, or set PATH to the folder that Python lies in.",
        )
    return sys.executable
