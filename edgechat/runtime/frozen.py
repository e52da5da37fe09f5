"""Early setup of a packaged edgechat, before anything else is imported; does nothing otherwise.

It undoes what PyInstaller's loader does to the environment of other programs, and keeps the program's own code open.
This module must import nothing but the standard library.
"""

from __future__ import annotations

import os
import sys


def set_up() -> None:
    """Set up a packaged edgechat. Call once, at the very start."""
    if getattr(sys, "frozen", False):
        _restore_library_path()
        _keep_archive_open()


def _restore_library_path() -> None:
    """Give child programs the user's library path rather than the packaged binary's.

    PyInstaller's loader points it at the binary's own folder, from which a terminal or a clipboard tool would load
    outdated libraries. This process read it at startup and no longer needs it. A child running the same binary is made
    to set it again and to ignore the variables by which the loader recognises its own children.
    """
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"


def _keep_archive_open() -> None:
    """Keep the code archive open, so that imports still work after a disk cleaner has removed it.

    The single-file form is unpacked to a cache, where that happens; the loader opens its archive by name for each
    module.
    """
    archive = getattr(sys.modules.get("pyimod02_importers"), "pyz_archive", None)
    if sys.platform == "linux" and archive is not None and hasattr(archive, "_filename"):
        archive._filename = f"/proc/self/fd/{os.open(archive._filename, os.O_RDONLY)}"
