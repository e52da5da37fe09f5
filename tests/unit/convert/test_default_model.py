"""The default model, converted: as faithful, small, quick to make and quick to run as promised."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer

from edgechat.convert.random_model import make_smollm2_shaped
from tests.unit.convert.engine import load, logits_of, speed_ratio
from tests.unit.convert.reference import Reference, divergence
from tests.unit.convert.text import PASSAGE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.model

# Run by itself, so that the peak is the conversion's own; getrusage counts what the parent held at the fork, VmHWM not.
_CONVERT = """
import json, re, sys, time
from pathlib import Path
start = time.monotonic()
from edgechat.convert.gguf.converter import convert_gguf
report = convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
print(json.dumps({"seconds": time.monotonic() - start, "peak": peak, "size": report.bytes_written,
    "quantisation": report.quantisation, "licence": report.licence, "context": report.context_length}))
"""


def test_logits_are_those_of_the_gguf(default_gguf: Path, default_genai: Path) -> None:
    ids = Tokenizer.from_file(str(default_genai / "tokenizer.json")).encode(PASSAGE).ids
    assert len(ids) >= 300
    mean, same = divergence(Reference(default_gguf).logits(ids), logits_of(load(default_genai), ids))
    print(f"mean KL {mean:.4f} nats, same top-1 {same:.2%} over {len(ids)} tokens")
    assert mean <= 0.01
    assert same >= 0.97


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_conversion_is_quick_and_small(default_gguf: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CONVERT, str(default_gguf), str(tmp_path / "out")]
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(measured)
    assert measured["seconds"] <= 40
    assert measured["peak"] <= 1.5e9
    assert measured["size"] <= 130e6
    assert (measured["quantisation"], measured["licence"]) == ("Q4_1 + Q8_0", "apache-2.0")
    assert measured["context"] == 8192


@pytest.mark.slow
def test_exactness_costs_at_most_a_quarter_of_the_speed(default_genai: Path, tmp_path: Path) -> None:
    plain = make_smollm2_shaped(tmp_path / "plain", default_genai)
    ratio = speed_ratio(load(default_genai), load(plain))
    print(f"decode speed {ratio:.2f} of plain int4")
    assert ratio >= 0.75
