"""Run `edgechat bench` and log it to an MLflow server: the ratios as metrics, the full output as `bench.json`.

    python -m edgechat.examples.bench --model-uri smollm2 --tracking-uri http://localhost:5000
    mlflow run edgechat/examples -e bench --env-manager local -P model_uri=smollm2

Ratios can be compared between machines and days; the times they are based on, in bench.json, cannot.

It needs the extra `mlflow`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from edgechat.cli.main import report
from edgechat.errors import EdgechatError, ExitCode
from edgechat.examples.recipe import go_quietly
from edgechat.examples.recorded import Measured, add_destination, record
from edgechat.registry.client import connect
from edgechat.runtime import paths

_MEASURES = ("ratio", "seconds", "bytes")
"""Each figure's single number, by the name it is logged under."""


def measured(result: Mapping[str, Any]) -> Measured:
    """Return what to log of the output."""
    metrics = {
        f"{name}_{measure}": float(figure[measure])
        for name, figure in result["figures"].items()
        for measure in _MEASURES
        if measure in figure
    }
    # Not rounds and tokens: `mlflow run` logs its own arguments, and a parameter can be set only once.
    parameters = {name: result[name] for name in ("model", "context", "threads")}
    return Measured(f"bench {result['model']}", parameters, metrics, texts={"bench.json": json.dumps(result, indent=2)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, log, and print the output.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgechat.examples.bench",
        description="Run `edgechat bench` and log its figures to an MLflow server; other options are passed to it.",
        allow_abbrev=False,
    )
    add_destination(parser)
    options, passed_on = parser.parse_known_args(arguments)
    try:
        connect(options.tracking_uri)  # reports an unreachable server before minutes of work
        ended = subprocess.run(
            paths.own_command("bench", "--json", *passed_on), stdout=subprocess.PIPE, text=True, check=False
        )
        if ended.returncode != ExitCode.OK:
            return ended.returncode  # it has reported why
        run_id = record(measured(json.loads(ended.stdout)), options.tracking_uri, options.experiment)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    sys.stdout.write(ended.stdout)
    sys.stderr.write(f"edgechat: logged in run {run_id}\n")
    return 0


if __name__ == "__main__":
    go_quietly()
    raise SystemExit(main())
