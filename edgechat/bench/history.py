"""`edgechat bench --history`: the cost of a long history compared with an empty one, in one run.

The history is generated in a temporary folder with a natural distribution of words: a few very frequent, most rare.
"""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechat.bench.processes import in_terminal
from edgechat.bench.report import figure, say
from edgechat.chat.conversation import ReplyState
from edgechat.history.store import HistoryStore

if TYPE_CHECKING:
    from edgechat.settings.schema import Config

CHATS = 10_000
TURNS = 10
"""Turns per chat; with their replies, 200,000 messages."""

WORDS = 30_000
SEARCH_SECONDS = 0.05


async def measure(config: Config, rounds: int, *, tui: bool) -> dict[str, Any]:
    """Measure the time to first paint and to the first search results.

    Args:
        config: The settings, for the model that the chat starts loading after its first paint.
        rounds: Pairs of first paints to measure.
        tui: Whether to measure those at all.

    Returns:
        The output of `edgechat bench --json`.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        full, empty = Path(folder) / "full" / "history.db", Path(folder) / "empty" / "history.db"
        say(f"writing {CHATS:,} chats of {2 * TURNS} messages")
        vocabulary = _fill(full)
        HistoryStore.open(empty).close()
        say("searching")
        figures["search"] = _searches(full, vocabulary)
        pairs = []
        for number in range(rounds + 1 if tui else 0):
            say(f"first paint, {number + 1} of {rounds + 1}")
            pair = []
            for history in (full, empty):
                began = time.monotonic()
                result = await in_terminal(config.model_uri, None, None, history)
                pair.append(result["painted"] - began)
            pairs.append((pair[0], pair[1]))
        if pairs:
            figures["history_paint"] = figure(pairs[1:], "seconds", at_most=1.1)
    return {"chats": CHATS, "messages": 2 * CHATS * TURNS, "rounds": rounds, "figures": figures}


def _fill(path: Path) -> list[str]:
    """Write the history; return its words, most frequent first."""
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    store = HistoryStore.open(path)
    # One transaction: with the store's own methods, each message would wait for the disk.
    with store._database.writing() as db:
        turn = 0
        for chat in range(1, CHATS + 1):
            db.execute(
                "INSERT INTO conversation (id, title, system, model, created, updated, touched) "
                "VALUES (?, ?, '', '', 0, 0, ?)",
                (chat, f"chat {chat}", chat),
            )
            for number in range(TURNS):
                turn += 1
                said = [" ".join(chance.choices(vocabulary, cum_weights=weights, k=length)) for length in (15, 80)]
                db.execute(
                    "INSERT INTO turn (id, conversation, parent, user, created) VALUES (?, ?, ?, ?, 0)",
                    (turn, chat, turn - 1 if number else None, said[0]),
                )
                db.execute(
                    "INSERT INTO reply (id, turn, text, state, model, created) VALUES (?, ?, ?, ?, '', 0)",
                    (turn, turn, said[1], ReplyState.COMPLETE),
                )
                db.execute("UPDATE turn SET active = id WHERE id = ?", (turn,))
            db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (turn, chat))
    store.close()
    return vocabulary


def _searches(path: Path, vocabulary: list[str]) -> dict[str, Any]:
    """Measure seconds to the first results."""
    queries = _queries(vocabulary)
    store = HistoryStore.open(path)
    seconds = []
    for query in queries:
        began = time.perf_counter()
        found = store.search.find(query)
        seconds.append(time.perf_counter() - began)
        assert found, query
    store.close()
    median = statistics.median(seconds)
    return {
        "median_seconds": round(median, 5),
        "worst_seconds": round(max(seconds), 5),
        "queries": len(queries),
        "at_most": SEARCH_SECONDS,
        "met": median <= SEARCH_SECONDS,
    }


def _queries(vocabulary: list[str]) -> list[str]:
    """Return frequent, middling and rare words, pairs of words, and prefixes."""
    queries = [*vocabulary[:20], *vocabulary[300:320], *vocabulary[20_000:20_020]]
    queries += [f"{vocabulary[number]} {vocabulary[number + 7]}" for number in range(50, 70)]
    return queries + [word[:3] for word in vocabulary[100:120]]
