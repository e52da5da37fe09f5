"""`edgechat bench --long`: the cost of a very long chat and a very long reply to the interface.

Long and empty chats are opened alternately. The reply is scripted, because no model here generates 50,000 tokens in a
minute; everything else is the real chat in a terminal. No model is needed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from edgechat.bench.processes import in_terminal
from edgechat.bench.report import figure, say
from edgechat.chat.conversation import ReplyState
from edgechat.history.store import HistoryStore

MESSAGES = 2_000
"""Messages in the long chat, half of them the user's."""

TOKENS = 50_000
"""Tokens in the long reply; in a scripted one those are words."""

LAG = 0.05


async def measure(rounds: int) -> dict[str, Any]:
    """Measure the time until a chat is shown, and the interface's latency while a reply is streaming.

    Args:
        rounds: Pairs of chats to open.

    Returns:
        The output of `edgechat bench --json`.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="edgechat-bench-") as folder:
        history = Path(folder) / "history.db"
        say(f"writing a chat of {MESSAGES:,} messages")
        long, empty = _fill(history)
        pairs = []
        for number in range(rounds + 1):
            say(f"opening it, {number + 1} of {rounds + 1}")
            pair = []
            for chat in (long, empty):
                began = time.monotonic()
                result = await in_terminal(None, None, None, history, scripted={"chat": chat, "words": 0})
                pair.append(result["opened"] - began)
            pairs.append((pair[0], pair[1]))
        figures["long_open"] = figure(pairs[1:], "seconds", at_most=2.0)
        say(f"writing a reply of {TOKENS:,} tokens")
        result = await in_terminal(None, "go", None, history, scripted={"chat": long, "words": TOKENS})
        lag = result["lag"]
        figures["long_lag"] = {"seconds": lag, "tokens": result["tokens"], "at_most": LAG, "met": lag <= LAG}
    return {"messages": MESSAGES, "tokens": TOKENS, "rounds": rounds, "figures": figures}


def story(words: int) -> str:
    """Return a reply with that many words and all that replies contain: prose, lists, code, tables, long blocks."""
    parts: list[str] = []
    length = number = 0
    while length < words:
        number += 1
        part = _SECTIONS[number % len(_SECTIONS)].replace("@", str(number))
        if number % 10 == 0:  # a long block
            part = (
                "```python\n" + "".join(f"value_{line} = compute({line}) + {number}\n" for line in range(150)) + "```"
            )
        parts.append(part)
        length += len(part.split())
    return " ".join("\n\n".join(parts).split(" ")[:words])


_SECTIONS = (
    "## Part @\n\nThe keeper of the light climbed the stairs, **slowly**, and counted them. "
    + "There were many. " * 30,
    "1. First, `look` at the sea\n2. Then *write* it down\n   - with the hour\n   - and the wind\n3. Rest\n",
    "```python\ndef light(hour: int) -> bool:\n    # in the dark\n    return hour < 6 or hour > @\n```",
    "| Hour | Wind |\n| --- | ---: |\n| 1 | @ |\n| 2 | 7 |\n\n> And so the night went by, as nights do.\n",
)


def _fill(path: Path) -> tuple[int, int]:
    """Write the chats; return their ids, the long one first."""
    store = HistoryStore.open(path)
    long, empty = (store.create_conversation(title=title, model="scripted").id for title in ("long", "empty"))
    text = story(120)
    # One transaction: with the store's own methods, each message would wait for the disk.
    with store._database.writing() as db:
        for turn in range(1, MESSAGES // 2 + 1):
            db.execute(
                "INSERT INTO turn (id, conversation, parent, user, created) VALUES (?, ?, ?, ?, 0)",
                (turn, long, turn - 1 if turn > 1 else None, f"Question {turn}: what then?"),
            )
            db.execute(
                "INSERT INTO reply (id, turn, text, state, model, created) VALUES (?, ?, ?, ?, 'scripted', 0)",
                (turn, turn, text, ReplyState.COMPLETE),
            )
            db.execute("UPDATE turn SET active = id WHERE id = ?", (turn,))
        db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (MESSAGES // 2, long))
    store.close()
    return long, empty
