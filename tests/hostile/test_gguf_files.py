"""Broken GGUF files: each is refused in words or converted, in bounded time and memory, and writes its folder alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

from tests.hostile.conftest import Campaign, sample
from tests.hostile.gguf_files import ATTACKS, broken
from tests.hostile.gguf_form import taken_apart
from tests.unit.convert.tiny_gguf import write_tiny_gguf

BATCH = 60
DEADLINE = 240
"""Seconds for a batch; on a quiet machine it takes about five."""
SLOW = 60
"""Seconds for one file, whatever else the machine is doing; on a quiet machine the slowest takes about two."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")


def outcomes(out: Path, files: list[Path]) -> tuple[dict[str, dict[str, object]], str]:
    """Convert files in a process of their own: what came of each, and how the process ended if not well."""
    command = [sys.executable, "-P", "-m", "tests.hostile.gguf_files", str(out), *map(str, files)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = ""
    with (out / "lines").open("w+") as lines:
        try:
            done = subprocess.run(
                command, check=False, stdout=lines, stderr=subprocess.PIPE, timeout=DEADLINE, env=environment
            )
            if done.returncode:
                ended = f"it ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}"
        except subprocess.TimeoutExpired:
            ended = f"it was not done after {DEADLINE} s"
        lines.seek(0)
        told = [json.loads(line) for line in lines]
    found = {row["name"]: row for row in told if "name" in row}
    return found, ended


def test_broken_files(tmp_path: Path, campaign: Callable[[str, str], Campaign]) -> None:
    source = write_tiny_gguf(
        tmp_path / "whole.gguf",
        kind=GGMLQuantizationType.Q4_0,
        hidden=64,
        layers=1,
        heads=4,
        kv_heads=2,
        inner=64,
        tied=False,
    )
    whole = taken_apart(source)
    assert whole.raw() == source.read_bytes()
    attacked = campaign("A", "GGUF files, broken")
    numbers = list(sample(2 * len(ATTACKS), 1200))
    left = numbers
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        folder = tmp_path / f"batch-{batch[0]}"
        folder.mkdir()
        files = {number: folder / f"{number}.gguf" for number in batch}
        for number, path in files.items():
            path.write_bytes(broken(whole, number))
        out = tmp_path / f"out-{batch[0]}"
        out.mkdir()
        found, ended = outcomes(out, list(files.values()))
        for number, path in files.items():
            row = found.get(path.name)
            if row is None:  # the one at which the process ended; those after it are tried again
                attacked.note(number, f"no answer: {ended}")
                left = [*batch[batch.index(number) + 1 :], *left]
                break
            slow = f"it took {row['seconds']} s" if float(str(row["seconds"])) > SLOW else ""
            attacked.note(number, str(row["fault"]) or slow or None)
        strange = {path.name for path in out.iterdir()} - {"lines", *(path.stem for path in files.values())}
        assert not strange
        assert {path.name for path in folder.iterdir()} == {path.name for path in files.values()}
    attacked.judge()


def test_a_whole_file_is_converted(tmp_path: Path) -> None:
    """Without this, a campaign in which everything is refused would pass."""
    source = write_tiny_gguf(tmp_path / "whole.gguf", hidden=64, layers=1, heads=4, kv_heads=2, inner=64)
    found, ended = outcomes(tmp_path, [source])
    assert not ended
    assert found["whole.gguf"]["words"] == "converted"
