"""The version of edgechat, and for a packaged binary what it was built from."""

from __future__ import annotations

import json
from typing import Any

from edgechat import __version__
from edgechat.runtime import paths

BUILD_FILE = "build.json"
"""Written into the package by `build/bundle.py`; missing from a checkout or a wheel."""


def build_info() -> dict[str, Any]:
    """Return the bundling script's record: `revision`, `python` and more; empty if not bundled."""
    try:
        noted = json.loads(paths.resource(BUILD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def version_text() -> str:
    """Return the version, followed by a packaged binary's git revision: "0.1.0 (4f2a9c1)"."""
    revision = build_info().get("revision")
    return f"{__version__} ({revision})" if revision else __version__
