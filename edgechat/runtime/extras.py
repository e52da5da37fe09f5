"""How this copy of edgechat gets one of its extras, for the hints of errors.

A hint must work as it is typed: a checkout is managed by uv and is not on any index, while an installed package takes
its extras from one. Standard library only; it is asked when something is missing already.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""What the package lies in: a checkout, or the folder of installed packages."""


def install_command(*extras: str) -> str:
    """The command line that installs these extras of edgechat beside what is installed already.

    Args:
        extras: Names from `[project.optional-dependencies]`.
    """
    if (ROOT / "uv.lock").is_file() and (ROOT / "pyproject.toml").is_file():
        # Without --inexact uv would take away what other extras have brought.
        return " ".join(["uv sync --inexact", *(f"--extra {extra}" for extra in extras)])
    return f"pip install 'edgechat[{','.join(extras)}]'"
