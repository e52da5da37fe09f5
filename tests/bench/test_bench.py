"""`edgechat bench` on the real model: that it measures. How fast this machine is today is told, never judged."""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path

import pytest

from edgechat.bench import history, long
from edgechat.bench.report import table
from edgechat.runtime.paths import own_command
from edgechat.settings.schema import Config

pytestmark = pytest.mark.model


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = own_command("bench", "--rounds", "1", "--tokens", "24", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_every_figure_is_measured_in_one_run(home_with_model: Path) -> None:
    ended = bench("--json")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    print(ended.stdout)
    assert result["model"] == "smollm2-135m-instruct"
    figures = result["figures"]
    assert set(figures) == {"decode_client", "decode_tui", "worker_memory", "first_paint", "ui_worst_lag"}
    for name in ("decode_client", "decode_tui", "first_paint"):
        figure = figures[name]
        ratios = [ours / theirs for ours, theirs in zip(figure["ours"], figure["reference"], strict=True)]
        assert figure["ratio"] == pytest.approx(statistics.median(ratios), rel=0.01)
        assert 0.1 < figure["ratio"] < 10
    # Memory does not depend on how busy the machine is.
    assert figures["worker_memory"]["met"], figures["worker_memory"]
    assert 0 <= figures["ui_worst_lag"]["seconds"] < 5


def test_scoring_is_measured_against_the_plain_loop(home_with_model: Path) -> None:
    ended = bench("--scoring", "--json")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)["figures"]
    assert 0.1 < figures["predict_decode"]["ratio"] < 10
    assert 0.01 < figures["predict_batch"]["ratio"] < 10


def test_turns_other_replies_and_chats_are_measured_in_one_run(home_with_model: Path) -> None:
    ended = bench("--turns", "--json")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)["figures"]
    assert set(figures) == {"later_turn", "later_turn_at_once", "another_reply", "back_to_a_chat"}
    assert all(0.001 < figure["ratio"] < 100 for figure in figures.values())


async def test_a_long_history_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHATS": 300, "WORDS": 21_000}.items():
        monkeypatch.setattr(history, name, value)
    monkeypatch.setattr(history, "_queries", lambda vocabulary: vocabulary[:5])
    result = await history.measure(Config(), 1, tui=False)
    assert (result["chats"], result["messages"]) == (300, 6_000)
    assert result["figures"]["search"]["median_seconds"] > 0


async def test_a_long_chat_and_a_long_reply_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MESSAGES": 60, "TOKENS": 300}.items():
        monkeypatch.setattr(long, name, value)
    result = await long.measure(1)
    figures = result["figures"]
    assert 0.1 < figures["long_open"]["ratio"] < 10
    assert figures["long_lag"]["tokens"] >= 250
    assert 0 <= figures["long_lag"]["seconds"] < 5
    assert "60 messages" in table(result)
    assert "at most 50" in table(result)


def test_the_table_is_for_people(home_with_model: Path) -> None:
    ended = bench("--no-tui")
    assert ended.returncode == 0, ended.stderr
    assert "smollm2-135m-instruct" in ended.stdout
    assert "at least 0.97" in ended.stdout


def test_a_missing_model_is_told(home_with_model: Path) -> None:
    ended = bench("--model-uri", "./nowhere")
    assert ended.returncode == 3
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr
