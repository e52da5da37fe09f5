"""The way in: `python -m edgechat`, the `edgechat` command and the packaged binary.

The offline environment is set before anything else is imported; nothing may be imported above that line.
"""

from __future__ import annotations

import gc

from edgechat.runtime.frozen import set_up
from edgechat.runtime.opt_outs import go_offline

go_offline()
set_up()
# Importing makes many objects and no garbage, and looking for some takes a tenth of the time to the first paint.
# `cli.main` turns it on again for commands, the chat after it has painted.
gc.disable()


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from edgechat.cli.main import run, watch_faults

    watch_faults()
    raise SystemExit(run())


if __name__ == "__main__":
    main()
