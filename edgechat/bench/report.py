"""Computes the figures of `edgechat bench` from measurements, and formats them.

Almost every figure is a ratio of two times measured one after the other; nothing is measured here.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from edgechat.errors import EngineError

MEGABYTE = 1024 * 1024


def figure(pairs: list[tuple[float, float]], unit: str, **bound: float) -> dict[str, Any]:
    """Return the pairs, the median of their ratios, and whether it meets `at_least` or `at_most`."""
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    met = ratio >= bound["at_least"] if "at_least" in bound else ratio <= bound["at_most"]
    return {
        "unit": unit,
        "ours": [round(ours, 4) for ours, _ in pairs],
        "reference": [round(theirs, 4) for _, theirs in pairs],
        "ratio": round(ratio, 4),
        **bound,
        "met": met,
    }


def speed(tokens: int, seconds: float) -> float:
    """Return tokens per second after the first token. Raises EngineError if there was no second one."""
    if tokens < 2 or seconds <= 0:
        raise EngineError("Nothing to measure", "The model ended its reply at once.", "Measure with another model.")
    return (tokens - 1) / seconds


def say(text: str) -> None:
    """Report what is being measured."""
    sys.stderr.write(f"edgechat: {text}\n")


_NAMES = {
    "decode_client": "decode through worker and wire / plain loop",
    "decode_tui": "decode while the chat draws / plain loop",
    "first_paint": "first paint / trivial Textual app",
    "packaged_paint": "first paint, packaged / this edgechat",
    "packaged_decode": "decode, packaged / this edgechat",
    "history_paint": "first paint, long history / empty one",
    "predict_decode": "mlflow.pyfunc predict / plain loop",
    "predict_batch": "8 prompts in one call / in 8 calls",
    "later_turn": "first text, turn 20 / turn 2, after a pause",
    "later_turn_at_once": "first text, turn 20 / turn 2, at once",
    "another_reply": "first text, another reply / 1,000 tokens cold",
    "back_to_a_chat": "first text, back in a chat / all of it cold",
    "long_open": "chat of 2,000 messages shown / empty chat",
}


def table(result: dict[str, Any]) -> str:
    """Format the measurements as a table."""
    if "model" not in result and "tokens" in result:
        lines = [f"a chat of {result['messages']:,} messages, a reply of {result['tokens']:,} tokens"]
    elif "chats" in result:
        lines = [f"{result['chats']:,} chats, {result['messages']:,} messages"]
    else:
        lines = [f"{result['model']}: {result['threads']} threads, context {result['context']:,}"]
    for key, figure in result["figures"].items():
        if "ratio" in figure:
            sign = "at least" if "at_least" in figure else "at most"
            bound = figure.get("at_least", figure.get("at_most"))
            lines.append(f"{_NAMES[key]:<46} {figure['ratio']:>6.2f}   ({sign} {bound})")
        elif key in ("ui_worst_lag", "long_lag"):
            lines.append(
                f"{'worst lag of the interface while writing':<46} {figure['seconds'] * 1000:>4.0f} ms   (at most 50)"
            )
        elif key == "search":
            taken, bound = figure["median_seconds"] * 1000, figure["at_most"] * 1000
            lines.append(f"{'first results of a search, median':<46} {taken:>4.0f} ms   (at most {bound:.0f})")
        elif "bytes" in figure:
            taken, bound = figure["bytes"] / MEGABYTE, figure["at_most"] / MEGABYTE
            lines.append(f"{'highest memory of the worker':<46} {taken:>4.0f} MB   (at most {bound:.0f})")
    return "\n".join(lines)
