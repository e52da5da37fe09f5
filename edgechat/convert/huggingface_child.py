"""The process that runs onnxruntime-genai's model builder; started by `convert.huggingface`.

The builder offers no function that reads a folder and checks its options, only a script that does both, so the script
is run as is. No other module may import this one: it belongs in its own process.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from edgechat.runtime import parent_watch


def _end_with_input() -> None:
    # Not through sys.stdin, whose lock a thread must not hold when Python exits.
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Run the builder with this process's arguments. A failure ends the process with its traceback.

    The first argument is the parent's process id; this process ends when the parent does.
    """
    if os.name == "nt":
        threading.Thread(target=_end_with_input, daemon=True).start()
    parent_watch.end_with(int(sys.argv.pop(1)))
    package = find_spec("onnxruntime_genai")  # without importing it: the builder does not need the engine
    assert package is not None
    assert package.submodule_search_locations is not None
    script = Path(package.submodule_search_locations[0]) / "models" / "builder.py"
    # The script imports its sibling modules by their bare names.
    sys.path.insert(0, str(script.parent))
    sys.argv[0] = str(script)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
