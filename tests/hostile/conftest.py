"""Campaigns: attacks that are made up from seeds, a few in each check and all of them at night.

`pytest tests/hostile` runs the sample; `EDGECHAT_CAMPAIGN=long` runs everything. A case is known by its number, so a
failure is repeated with `-k` and the number in its message. Counts go to the file EDGECHAT_CAMPAIGN_COUNTS names, one
JSON line a campaign; `python -m tests.hostile.counts` turns them into the table of assets/docs/hostile.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SHOWN_EVERY = 10
"""Cases between two lines of how far a long campaign is."""

LONG = os.environ.get("EDGECHAT_CAMPAIGN", "") == "long"


@dataclass
class Campaign:
    """One kind of attack, tried many times.

    Attributes:
        name: What is attacked, in a few words, as the table says it.
        point: The letter of the group it belongs to: A model folders, B history, C terminal, D device.
        failures: What went wrong, a line a case, beginning with the case's number.
        tried: Cases tried so far.
    """

    name: str
    point: str
    failures: list[str] = field(default_factory=list)
    tried: int = 0

    def run(self, cases: Iterable[int], attack: Callable[[int], str | None]) -> None:
        """Try each case; `attack` returns what went wrong, or None. Fails at the end, with every failed case."""
        for number in cases:
            self.note(number, attack(number))
        self.judge()

    def note(self, number: int, failure: str | None) -> None:
        """Count one case, and tell of it: a long campaign is watched with `pytest -s`."""
        self.tried += 1
        if failure is not None:
            self.failures.append(f"{number}: {failure}")
            print(f"{self.name}: {self.failures[-1]}", flush=True)
        if LONG and self.tried % SHOWN_EVERY == 0:
            print(f"{self.name}: {self.tried} tried, {len(self.failures)} failed", flush=True)

    def judge(self) -> None:
        """Fail when a case did, or when there was none."""
        assert self.tried, f"{self.name}: nothing was tried"
        shown = "\n".join(self.failures[:20])
        assert not self.failures, f"{self.name}: {len(self.failures)} of {self.tried} failed\n{shown}"


def sample(short: int, long: int) -> range:
    """The numbers of the cases to try: the first `short` of them, or all `long`."""
    return range(long if LONG else min(short, long))


@pytest.fixture
def campaign() -> Iterator[Callable[[str, str], Campaign]]:
    """Starts campaigns; their counts are written when the test is over, failed or not."""
    started: list[Campaign] = []

    def start(point: str, name: str) -> Campaign:
        started.append(Campaign(name, point))
        return started[-1]

    yield start
    counts = os.environ.get("EDGECHAT_CAMPAIGN_COUNTS")
    if counts:
        with Path(counts).open("a", encoding="utf-8") as file:
            for one in started:
                row = {"point": one.point, "name": one.name, "tried": one.tried, "failed": len(one.failures)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
