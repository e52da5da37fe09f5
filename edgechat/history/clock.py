"""The time a history has lived through, which no clock that is set can turn back or let leap.

A device without a clock chip starts in 1970 and is corrected later; another has shown 2036 for a day. What is to happen
"after 30 days" is therefore reckoned from steps between one look at the clock and the next: what goes back counts
nothing, and what leaps ahead counts a few days, so that no single wrong time can take anything from the disk. The steps
are kept in the file; every reading is later than the one before, so that readings are an order as well.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

DAY = 24 * 3600.0

LONGEST_STEP = 10 * DAY
"""What a step into a time that was never seen counts at the most: one who starts once a month is believed in part."""

LONGEST_REPEATED = 1 * DAY
"""The same for a step within a time that was seen before, as after a clock was ahead and was set right."""

LEAST = 0.001
"""What the shortest step counts."""


def lived(db: sqlite3.Connection) -> float:
    """Look at the clock, in a write transaction of the caller.

    Returns:
        Seconds that this history has lived through; later than at any look before.
    """
    now = time.time()
    seen, last, before = db.execute("SELECT seen, last, lived FROM clock").fetchone()
    if seen is None:
        step = 0.0
    elif now > seen:
        step = min(now - seen, LONGEST_STEP)
    else:
        step = min(max(now - last, 0.0), LONGEST_REPEATED)
    after = float(before) + max(step, LEAST)
    db.execute("UPDATE clock SET seen = MAX(COALESCE(seen, ?), ?), last = ?, lived = ?", (now, now, now, after))
    return after
