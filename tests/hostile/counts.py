"""Turns the counts of a run of the campaigns into a Markdown table: `python -m tests.hostile.counts FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

GROUPS = {"A": "Model folders and files", "B": "The history", "C": "The terminal", "D": "The device"}


def table(lines: list[str]) -> str:
    """The table of these JSON lines, sorted by group and name; the last count of a campaign is the one shown."""
    rows = {(row["point"], row["name"]): row for row in map(json.loads, filter(str.strip, lines))}
    out = ["| group | attack | tried | failed |", "| --- | --- | ---: | ---: |"]
    for (point, name), row in sorted(rows.items()):
        out.append(f"| {GROUPS[point]} | {name} | {row['tried']:,} | {row['failed']:,} |")
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.write(table(Path(sys.argv[1]).read_text("utf-8").splitlines()) + "\n")
