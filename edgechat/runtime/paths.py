"""Where edgechat keeps its own files, and how it starts itself again.

Every file edgechat writes lies below one of the four folders named here, made with mode 0700. `EDGECHAT_HOME` puts all
four below one folder (a USB stick, a test); a user without a home folder gets a temporary one. Models live with the
data, not with the caches: on a device without a network a model that a disk cleaner removed could not be had again.
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
from edgechat.runtime.file_ownership import require_own

APP = "edgechat"

SINGLE_FILE = "EDGECHAT_BINARY"
"""The variable in which the single-file form tells where it lies; what runs is what it unpacked elsewhere."""

UNPACKED = ".whole"
"""The file by which the single file knows that all it unpacked is there."""


def expanded(path: Path) -> Path:
    """A path with its ~ replaced; as it was written where the system knows no such user, and nothing is there."""
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
    except RuntimeError as error:  # the ~ of a user the system does not know
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
    """The folder that stands in for a home where there is none, as on a device that runs edgechat as a bare user.

    It is private, and survives the program but perhaps not the device's next start. None where there is a home, or
    EDGECHAT_HOME.

    Raises:
        StorageError: It is needed, and a folder of that name belongs to somebody else.
    """
    if os.environ.get("EDGECHAT_HOME") or os.name != "posix":
        return None
    try:
        if Path.home().is_dir():
            return None
    except RuntimeError:
        pass  # no HOME, and a user the system does not know
    import tempfile  # milliseconds that only a device without a home pays

    folder = Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StorageError(
            "No home folder", f"{folder}: {error.strerror or error}.", "Set EDGECHAT_HOME to a folder you can write to."
        ) from error
    # Anyone may have made a folder of that name in a place where everyone can write.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(
            "No home folder",
            f"{folder}, which would be used in its place, is not this user's alone.",
            "Set EDGECHAT_HOME to a folder for edgechat's files.",
        )
    _require_own(folder)
    return folder


def beside() -> tuple[Path, ...]:
    """The folders in which a packaged binary looks for what a device's owner put beside it; none elsewhere.

    The first is the one the binary lies in; the single-file form adds the folder it was unpacked to, after its own.
    """
    if not getattr(sys, "frozen", False):
        return ()
    own = Path(sys.executable).resolve().parent
    single = _single_file(own)
    return (single.parent, own) if single is not None else (own,)


def _single_file(own: Path) -> Path | None:
    # Believed only by what a single file unpacked: elsewhere the variable would lead away from a device's own settings.
    single = os.environ.get(SINGLE_FILE)
    return Path(single) if single and (own / UNPACKED).is_file() else None


def require_own_beside(path: Path) -> None:
    """Refuse what lies beside the packaged binary where somebody else could exchange it, or has put it there.

    Who the binary belongs to is trusted as the system is: it is his program that runs.

    Raises:
        StorageError: It, or a folder above it, is in the hands of others.
    """
    require_own(path, owners())


def owners() -> frozenset[int]:
    """The users the packaged binary belongs to, in either form; none elsewhere."""
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
    """Settings: `config.toml`."""
    return _folder("config")


def data_dir() -> Path:
    """What must not be lost: the chat history and the models."""
    return _folder("data")


def cache_dir() -> Path:
    """What can be made again at any time."""
    return _folder("cache")


def state_dir() -> Path:
    """Logs."""
    return _folder("state")


def models_dir() -> Path:
    """The model cache: one MLflow model folder a name."""
    return data_dir() / "models"


def history_path() -> Path:
    """The SQLite file that holds every chat."""
    return data_dir() / "history.db"


def log_path(name: str) -> Path:
    """The log file of that name, without its suffix."""
    return state_dir() / f"{name}.log"


def make_private(folder: Path) -> Path:
    """Make a folder and its missing parents, readable by its owner alone (0700).

    Returns:
        The same folder.

    Raises:
        StorageError: The folder cannot be made; the message names it and the cause.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):  # `parents=True` would give the mode to the last one only
            parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            "Folder cannot be made",
            f"{folder}: {error.strerror or error}.",
            "Free some space or make the folder writable, or set EDGECHAT_HOME to a folder that is.",
        ) from error
    return folder


def resource(name: str) -> Path:
    """A file shipped inside the package, from a checkout, a wheel or a frozen binary."""
    bundled = getattr(sys, "_MEIPASS", None)
    if bundled is not None:
        return Path(bundled) / APP / name
    from importlib.resources import files  # milliseconds that no start needs to pay

    return Path(str(files(APP).joinpath(name)))


def own_command(*arguments: str) -> list[str]:
    """The command line that starts this same edgechat again.

    A frozen binary is its own interpreter; elsewhere the running Python is asked for the package. `-P` keeps the
    working directory off the module path: a folder with a stray `edgechat/` or `numpy/` in it must change nothing.

    Raises:
        EdgechatError: As for `interpreter`.
    """
    if getattr(sys, "frozen", False):
        return [interpreter(), *arguments]
    return [interpreter(), "-P", "-m", APP, *arguments]


def interpreter() -> str:
    """The program that runs: Python, or a frozen binary.

    Raises:
        EdgechatError: Python does not know where it lies. It is not guessed: another Python has other packages.
    """
    if not sys.executable:
        raise EdgechatError(
            "Python cannot be found",
            "edgechat runs in processes of its own, and Python was started in a way that does not tell where it lies.",
            "Start edgechat by its full path, or set PATH to the folder that Python lies in.",
        )
    return sys.executable
