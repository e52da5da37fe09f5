"""Where edgechat keeps its own files, and how it starts itself again.

Every file edgechat writes lies below one of the four folders named here, made with mode 0700. `EDGECHAT_HOME` puts all
four below one folder (a USB stick, a test). Models live with the data, not with the caches: on a device without a
network a model that a disk cleaner removed could not be had again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from platformdirs import PlatformDirs

from edgechat.errors import StorageError

APP = "edgechat"


def _folder(kind: str) -> Path:
    home = os.environ.get("EDGECHAT_HOME")
    try:
        if home:
            return Path(home).expanduser().absolute() / kind
        folder: Path = getattr(PlatformDirs(APP, appauthor=False), f"user_{kind}_path")
    except RuntimeError as error:  # no HOME, and a user the system does not know
        raise StorageError(
            "No home folder",
            f"{error}.".replace("..", "."),
            "Set HOME, or set EDGECHAT_HOME to a folder for edgechat's files.",
        ) from error
    return folder


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
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    return [sys.executable, "-P", "-m", APP, *arguments]
