"""`edgechat _worker`: the child process that holds the model; see `engine.worker`."""

from __future__ import annotations

import click


@click.command("_worker", hidden=True)
def worker() -> None:
    """Serve an edgechat that started this process."""
    from edgechat.engine.worker import main

    raise click.exceptions.Exit(main())
