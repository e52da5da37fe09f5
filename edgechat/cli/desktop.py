"""Opens a terminal when edgechat is started from a file manager.

Only Linux and similar systems need this; Finder and Explorer open a terminal for console programs. There is no standard
way to open one, so common terminals are tried in turn, the user's own choice first.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from edgechat.errors import ConfigError
from edgechat.i18n.error_messages import translate_error
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths

OPENED = "EDGECHAT_IN_TERMINAL"
"""Set for the edgechat in the new terminal, which must never open another one."""

STARTING_SECONDS = 1.5
"""Seconds within which a terminal that cannot start fails; some delegate to a server and exit successfully at once."""

# The arguments between the terminal's name and the command to run.
TERMINALS: tuple[tuple[str, ...], ...] = (
    ("xdg-terminal-exec",),
    ("x-terminal-emulator", "-e"),
    ("ptyxis", "--"),
    ("gnome-terminal", "--"),
    ("kgx", "--"),
    ("konsole", "-e"),
    ("xfce4-terminal", "-x"),
    ("mate-terminal", "-x"),
    ("qterminal", "-e"),
    ("tilix", "-e"),
    ("terminator", "-x"),
    ("foot",),
    ("alacritty", "-e"),
    ("kitty",),
    ("wezterm", "start", "--"),
    ("ghostty", "-e"),
    ("urxvt", "-e"),
    ("st", "-e"),
    ("xterm", "-e"),
)

DIALOGS: tuple[tuple[str, ...], ...] = (
    ("zenity", "--error", "--no-markup", "--text"),
    ("kdialog", "--error"),
    ("xmessage", "-center"),
    ("notify-send", "edgechat"),
)


def started_from_desktop() -> bool:
    """Whether standard error is not visible but there is a display: a start from a file manager or menu."""
    if os.name != "posix" or sys.platform == "darwin" or os.environ.get(OPENED):
        return False
    if any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return False
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_in_terminal() -> None:
    """Open this program with the same arguments in a terminal.

    Raises:
        ConfigError: There is no terminal; a dialog has reported it, if one is available.
    """
    # Through `env`, because some terminals are windows of a server with another environment.
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("EDGECHAT_")]
    command = ["env", *settings, f"{OPENED}=1", *paths.own_command(*sys.argv[1:])]
    for terminal in _candidates(os.environ.get("TERMINAL", "")):
        if shutil.which(terminal[0]) and _starts([*terminal, *command]):
            return
    error = ConfigError(
        "No terminal",
        "edgechat is used in a terminal, and none was found on this device.",
        Sentence(
            "Install one, such as xterm, or start it from a console: {own_command}",
            own_command=shlex.join(paths.own_command()),
        ),
    )
    _show(f"{translate_error(error.title)}. {translate_error(error.message)}\n{translate_error(error.hint)}")
    raise error


def _candidates(preferred: str) -> list[tuple[str, ...]]:
    """Return the terminals to try: the user's choice first, with its own calling convention."""
    try:
        chosen = shlex.split(preferred)
    except ValueError:  # an unclosed quote
        chosen = [preferred]
    if not chosen:
        return list(TERMINALS)
    known = {terminal[0]: terminal[1:] for terminal in TERMINALS}
    return [(*chosen, *known.get(Path(chosen[0]).name, ("-e",))), *TERMINALS]


def _starts(command: list[str]) -> bool:
    environment = dict(os.environ)
    locale_name = next(filter(None, (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    if "utf-8" not in locale_name.lower().replace("utf8", "utf-8"):
        # If the system has no locale, xterm would show each non-ASCII character as several others.
        environment["LC_ALL"] = "C.UTF-8"
    try:
        started = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return started.wait(STARTING_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True


def _show(text: str) -> None:
    for dialog in DIALOGS:
        if shutil.which(dialog[0]):
            with suppress(OSError):
                subprocess.Popen([*dialog, text], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            return
