"""Opens folders as the commands do, one JSON line a folder, with a bound on the memory: `... STORE FOLDER...`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edgechat.errors import EdgechatError
from edgechat.flavor.package import find_source
from edgechat.models.card import card_markdown
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.manifest import quick_check, verify_manifest
from edgechat.models.store import ModelStore

MEMORY = 1_000_000_000
"""Bytes that opening may take beyond what is there before it."""


def _card(model: ModelFolder) -> object:
    return card_markdown(model, quick_check(model.root))


def _fault(action: Callable[[], object], said: list[str]) -> str:
    """What is wrong with how an action ended; its words are put on the list where it was refused."""
    try:
        action()
    except EdgechatError as error:
        words = f"{error.title}: {error.message} {error.hint}"
        said.append(words)
        if not error.title or not error.message or any(ord(letter) < 32 for letter in words):
            return f"a refusal without words, or with controls: {words[:200]!r}"
        return f"a refusal of {len(words)} letters" if len(words) > 2000 else ""
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def look(root: Path, store: Path) -> dict[str, object]:
    """Open a folder through each door; what came of it."""
    began = time.monotonic()
    said: list[str] = []
    opened: list[ModelFolder] = []
    doors: dict[str, Callable[[], object]] = {
        "open": lambda: opened.append(open_model(root)),
        "verify": lambda: verify_manifest(root),
        "package": lambda: find_source(root),
    }
    faults = [f"{name}: {fault}" for name, door in doors.items() if (fault := _fault(door, said))]
    if opened:
        more: dict[str, Callable[[], object]] = {
            "card": lambda: _card(opened[0]),
            "add": lambda: ModelStore(store).add(root, "m", link=True, replace=True),
        }
        faults += [f"{name}: {fault}" for name, door in more.items() if (fault := _fault(door, said))]
    return {
        "name": root.parent.name,
        "opened": bool(opened),
        "said": said[:1],
        "fault": "; ".join(faults),
        "seconds": round(time.monotonic() - began, 3),
    }


def main(store: str, *folders: str) -> None:
    """Look at each folder within the bound on memory, and tell of it on a line."""
    import resource

    __import__("yaml")
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    for folder in folders:
        sys.stdout.write(json.dumps(look(Path(folder), Path(store))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
