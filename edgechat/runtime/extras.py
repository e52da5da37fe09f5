"""How to install an extra in this copy of edgechat, for the hints of errors.

A hint must work as typed: a checkout is managed by uv and is on no index, while an installed package gets its extras
    from
one. Standard library only, because this is called when something is already missing.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that contains the package: a checkout or site-packages."""


def install_command(*extras: str) -> str:
    """Return the command that adds these extras to the current installation.

    Args:
        extras: Names from `[project.optional-dependencies]`.
    """
    if (ROOT / "uv.lock").is_file() and (ROOT / "pyproject.toml").is_file():
        # Without --inexact uv would remove what other extras installed.
        return " ".join(["uv sync --inexact", *(f"--extra {extra}" for extra in extras)])
    return f"pip install 'edgechat[{','.join(extras)}]'"
