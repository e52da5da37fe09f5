"""What a packaged edgechat sets right before anything else is imported; elsewhere it does nothing.

It undoes what PyInstaller's loader does to the environment of other programs, and keeps the program's own code at hand.
This module must never import anything but the standard library.
"""

from __future__ import annotations

import os
import sys


def settle_in() -> None:
    """Set a packaged edgechat right. Call it once, at the very start."""
    if getattr(sys, "frozen", False):
        _restore_library_path()
        _hold_own_code()


def _restore_library_path() -> None:
    """Give programs this one starts the user's own library path, not the packaged binary's.

    PyInstaller's loader points it at the binary's own folder; a terminal or a clipboard tool would take old libraries
    from there. This process read it when it began and needs it no more; a child of the same binary is told to set it
    anew, and not to trust the variables by which the loader knows its own children.
    """
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"


def _hold_own_code() -> None:
    """Keep the file with the code open, so that modules can be imported after a disk cleaner has removed it.

    The single file is unpacked to a cache, where that happens; the loader opens its archive by name for each module.
    """
    archive = getattr(sys.modules.get("pyimod02_importers"), "pyz_archive", None)
    if sys.platform == "linux" and archive is not None and hasattr(archive, "_filename"):
        archive._filename = f"/proc/self/fd/{os.open(archive._filename, os.O_RDONLY)}"
